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
        values = images.float()
        mean, std = (torch.tensor(each, device=images.device)[:, None, None] * 255 for each in (self.mean, self.std))
        values = (values - mean) / std
        m, p = self.merge, self.patch
        cut = values.reshape(len(values), 3, rows // m, m, p, columns // m, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        still = cut[..., None, :, :].expand(*cut.shape[:-2], self.frames, p, p)
        return still.reshape(len(values) * rows * columns, -1), rows, columns


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

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
