"""How text and pictures become what a Qwen3-VL reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LINE_BREAK = "\u010a"
"""A line's end, as a byte-level tokenizer writes it."""


@dataclass(frozen=True)
class Pictures:
    """How pictures become patches, as the model's processor has it."""

    patch: int
    merge: int
    frames: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    least: int
    most: int
    """Fewest and most pixels."""
    points: int = 0
    """Tokens of a picture that is shown whole, to eyes that find `learners.clap.points`; with 0 it is cut."""

    @property
    def unit(self) -> int:
        """Patches along each side of what becomes one token."""
        return 1 if self.points else self.merge

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches that a picture of this size is brought to.

        The rule is the Qwen processor's: multiples of a merged patch, a number of pixels within bounds.
        """
        unit = self.patch * self.merge
        rows, columns = round(height / unit), round(width / unit)
        if rows * columns * unit**2 > self.most:
            share = (height * width / self.most) ** 0.5
            rows, columns = max(1, int(height / share / unit)), max(1, int(width / share / unit))
        elif rows * columns * unit**2 < self.least:
            share = (self.least / (height * width)) ** 0.5
            rows, columns = -int(-height * share // unit), -int(-width * share // unit)
        return rows * self.merge, columns * self.merge

    def shown(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Pictures (n, 3, H, W), 0..255, as the model's eyes take them, and as how many rows and columns.

        Either `patches`, or whole: a row of key points.
        """
        if not self.points:
            return self.patches(images)
        return self._normal(images), 1, self.points

    def patches(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Pictures (n, 3, H, W), 0..255, as rows of patches (n * rows * columns, numbers); rows and columns.

        Patches that become one token follow each other.
        """
        rows, columns = self.grid(*images.shape[-2:])
        size = (rows * self.patch, columns * self.patch)
        if images.shape[-2:] != size:
            # The processor resizes in whole numbers too, where torch can: on a CPU.
            whole = images if images.device.type == "cpu" else images.float()
            images = F.interpolate(whole, size, mode="bicubic", antialias=True).round().clamp(0, 255)
        values = self._normal(images)
        m, p = self.merge, self.patch
        cut = values.reshape(len(values), 3, rows // m, m, p, columns // m, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        still = cut[..., None, :, :].expand(*cut.shape[:-2], self.frames, p, p)
        return still.reshape(len(values) * rows * columns, -1), rows, columns

    def laid_out(self, values: Tensor, rows: int, columns: int) -> Tensor:
        """What there is for every number that was `shown`, by patches where they lie: (n, rows, columns, numbers)."""
        if self.points:
            p, (height, width) = self.patch, values.shape[-2:]
            whole = values[..., : height // p * p, : width // p * p]
            cut = whole.unflatten(-1, (-1, p)).unflatten(-3, (-1, p))
            return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)
        m = self.merge
        cut = values.reshape(-1, rows // m, columns // m, m, m, values.shape[-1])
        return cut.transpose(2, 3).reshape(-1, rows, columns, values.shape[-1])

    def _normal(self, images: Tensor) -> Tensor:
        mean, std = (torch.tensor(each, device=images.device)[:, None, None] * 255 for each in (self.mean, self.std))
        normal: Tensor = (images.float() - mean) / std
        return normal


class Vocabulary:
    """A tokenizer that also knows the action tokens ``<ACT_0>`` to ``<ACT_{K-1}>`` and ``<ACT_PAD>``."""

    def __init__(self, words: str, entries: int) -> None:
        """Read a tokenizer's JSON and add what it lacks of the action tokens."""
        from tokenizers import AddedToken, Tokenizer

        self._tokenizer = Tokenizer.from_str(words)
        names = [*(f"<ACT_{code}>" for code in range(entries)), "<ACT_PAD>"]
        self._tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
        ids = [self.id(name) for name in names]
        if ids != list(range(ids[0], ids[0] + entries + 1)):
            raise ValueError(f"the tokenizer knows some action tokens already, and not as {entries} in a row")
        self.entries = entries
        self.first, self.pad_action = ids[0], ids[-1]
        self.end, self.image = self.id("<|im_end|>"), self.id("<|image_pad|>")
        self.fill = self.id("<|endoftext|>")

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    @property
    def json(self) -> str:
        """What makes it again."""
        return str(self._tokenizer.to_str())

    @property
    def special(self) -> list[int]:
        """Ids that are no text."""
        return [int(number) for number, token in self._tokenizer.get_added_tokens_decoder().items() if token.special]

    @property
    def broken(self) -> list[int]:
        """Ids of pieces that break a line."""
        return [int(number) for token, number in self._tokenizer.get_vocab().items() if LINE_BREAK in token]

    def id(self, token: str) -> int:
        """The id of a token.

        Raises:
            ValueError: there is none.
        """
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise ValueError(f"the tokenizer has no {token}; give one of a Qwen3-VL model")
        return int(number)

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def marked(self, before: str, text: str, after: str) -> tuple[list[int], list[bool]]:
        """Ids of three texts as one, and which of them have a piece of the one in the middle."""
        whole = self._tokenizer.encode(before + text + after, add_special_tokens=False)
        first, last = len(before), len(before) + len(text)
        return list(whole.ids), [start < last and end > first for start, end in whole.offsets]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
