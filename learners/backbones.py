"""What turns pictures and words into tokens: small encoders made here, and pre-trained ones by name or folder.

Notable: `KeyPoints` finds *where* things are on few, cheap features. On two CPU cores the picture, not the policy
head, is the bottleneck, and a soft-argmax over a fine map localises a cube to millimetres within minutes of training.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DULL = 4 / 127.5
"""Spread (of 2) below which a colour is noise that nobody shows apart: four levels of 255."""
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
"""Mean and spread of its pictures."""


class KeyPoints(nn.Module):
    """Per camera, ``points`` soft-argmax positions with what was seen there; one token per point.

    A token is the point's content, averaged under its own attention, and behind it twice its x, y and peak height
    (-2..2). Deep spatial autoencoders, Finn et al. 2016, section IV-B.
    """

    def __init__(self, cameras: int, points: int, channels: int) -> None:
        super().__init__()
        self.width = channels + 3
        self.summary_width = cameras * points * 3
        self.stems = nn.ModuleList(self._stem(channels) for _ in range(cameras))
        self.heads = nn.ModuleList(nn.Conv2d(channels, points, 1) for _ in range(cameras))
        self.sharpness = nn.Parameter(torch.full((cameras, points), 4.0))

    @staticmethod
    def _stem(channels: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=4),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
        )

    def forward(self, images: Tensor, aims: Tensor | None = None) -> Tensor:
        """Tokens (B, cameras * points, width); ``aims`` (B, points, channels) add to what the points look for."""
        tokens = []
        for camera, (stem, head) in enumerate(zip(self.stems, self.heads, strict=True)):
            seen = stem(images[:, camera])
            fits = head(seen) if aims is None else head(seen) + torch.einsum("bpc,bchw->bphw", aims, seen)
            heat = (fits * self.sharpness[camera, :, None, None]).flatten(2).softmax(-1)
            rows, columns = seen.shape[-2:]
            content = heat @ seen.flatten(2).mT
            y = torch.linspace(-1, 1, rows, device=heat.device, dtype=heat.dtype).repeat_interleave(columns)
            x = torch.linspace(-1, 1, columns, device=heat.device, dtype=heat.dtype).repeat(rows)
            place = torch.stack([heat @ x, heat @ y, heat.amax(-1)], dim=-1)
            tokens.append(torch.cat([content, 2 * place], dim=-1))
        return torch.cat(tokens, dim=1)

    def summary(self, tokens: Tensor) -> Tensor:
        """Where every point is."""
        return tokens[..., -3:].flatten(1)


class FinePoints(nn.Module):
    """Key points of little things: colours come apart, and cells are of two pixels.

    Most of a picture is grey, and what a hand is sent for is told by its colour, in a few pixels. As cameras give them,
    points do not find such a thing within minutes; once colours are apart (`whitening`, by what `fit` was shown), they
    do. 16 channels on these cells take about as long as 32 on those, and tell places better (LOG.md).
    """

    def __init__(self, cameras: int, points: int, channels: int) -> None:
        super().__init__()
        few = channels // 2
        self.width = channels + 3
        self.summary_width = cameras * points * 3
        self.first = nn.ModuleList(nn.Conv2d(3, few, 4, stride=2, padding=1) for _ in range(cameras))
        self.second = nn.ModuleList(nn.Conv2d(few, channels, 3, padding=1) for _ in range(cameras))
        self.looks = nn.Parameter(torch.randn(cameras, points, channels) * (3 * channels) ** -0.5)
        self.sharpness = nn.Parameter(torch.full((cameras, points, 1), 4.0))
        self.register_buffer("grey", torch.zeros(cameras, 3))
        self.register_buffer("apart", torch.eye(3).repeat(cameras, 1, 1))

    @property
    def fitted(self) -> bool:
        """Whether colours were measured."""
        return bool(self.get_buffer("grey").any())

    def fit(self, images: Tensor) -> None:
        """Measure each camera's colours in pictures (B, V, 3, H, W), -1..1, before anything is learned."""
        for camera, colours in enumerate(images.transpose(0, 1).movedim(2, -1).flatten(1, 3)):
            self.get_buffer("grey")[camera] = colours.mean(0)
            self.get_buffer("apart")[camera] = whitening(colours)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, cameras * points, width) of pictures (B, V, 3, H, W), -1..1.

        A token is what its point attends to: what is seen there, x and y twice (-2..2), and how far around it looks.
        """
        tokens = []
        for camera, looks in enumerate(F.pad(self.looks * self.sharpness, (0, 3))):
            cells = self._cells(camera, images[:, camera])
            found = F.scaled_dot_product_attention(looks.expand(len(cells), 1, -1, -1), cells, cells, scale=1.0)
            seen, place, reach = found[:, 0].split((self.width - 3, 2, 1), dim=-1)
            tokens.append(torch.cat([seen, 2 * place, reach - place.square().sum(-1, keepdim=True)], dim=-1))
        return torch.cat(tokens, dim=1)

    def summary(self, tokens: Tensor) -> Tensor:
        """Where every point is, and how far around it looks."""
        return tokens[..., -3:].flatten(1)

    def _cells(self, camera: int, images: Tensor) -> Tensor:
        """What is in each cell of pictures (B, 3, H, W), with its x, y and x² + y²: (B, 1, cells, width).

        The first layer takes colours apart on the way.
        """
        first: Any = self.first[camera]
        weight = torch.einsum("ocij,cd->odij", first.weight, self.get_buffer("apart")[camera])
        bias = first.bias - torch.einsum("ocij,c->o", weight, self.get_buffer("grey")[camera])
        edges = F.relu_(F.conv2d(images, weight, bias, first.stride, first.padding))
        seen = F.relu_(self.second[camera](edges)).movedim(1, -1)
        centres = _centres(seen.shape[1:3], seen)
        places = torch.cat([centres, centres.square().sum(-1, keepdim=True)], dim=-1)
        return torch.cat([seen.flatten(1, 2), places.expand(len(seen), -1, -1)], dim=-1)[:, None]


def _centres(shape: Sequence[int], like: Tensor) -> Tensor:
    """Where the centres of cells are (rows * columns, 2), x and y in -1..1 from edge to edge."""
    y, x = ((2 * torch.arange(n, device=like.device, dtype=like.dtype) + 1) / n - 1 for n in shape)
    return torch.cartesian_prod(y, x).flip(-1)


class Pretrained(nn.Module):
    """A vision transformer by name or local folder (ViT, DINOv2, DINOv3): its patch tokens, all cameras in a row.

    Pictures are -1..1; what the model was trained on is said by its own preprocessor, or is ImageNet's for a DINO.
    ``facts`` is what it takes to build the model again, without the name or the folder it came from.
    """

    def __init__(self, source: str | dict[str, Any], frozen: bool) -> None:
        super().__init__()
        self.model, self.facts = _model(source)
        self.facts |= {"colours": _colours(source, self.model.config.model_type)}
        # Before the patches come one token of the whole picture and, in some, registers.
        self.skipped = 1 + int(getattr(self.model.config, "num_register_tokens", 0))
        self.width = self.summary_width = int(self.model.config.hidden_size)
        self.frozen = frozen
        self.model.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Self:
        """A frozen model stays as it is at run time: without dropout."""
        super().train(mode)
        self.model.train(mode and not self.frozen)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, V * patches, width) of pictures (B, V, 3, H, W)."""
        mean, spread = (images.new_tensor(each).view(3, 1, 1) for each in self.facts["colours"])
        pixels = ((images + 1) / 2 - mean) / spread
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            tokens: Tensor = self.model(pixel_values=pixels.flatten(0, 1)).last_hidden_state[:, self.skipped :]
        return tokens.unflatten(0, images.shape[:2]).flatten(1, 2)

    def summary(self, tokens: Tensor) -> Tensor:
        """The mean token."""
        return tokens.mean(1)


class Words(nn.Module):
    """A vocabulary read off the instructions, embedded with sinusoidal positions and one transformer layer.

    A word never seen in training is the token 1, so a new instruction still runs; it just cannot be understood.
    """

    def __init__(self, vocabulary: tuple[str, ...], width: int, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.index = {word: i + 2 for i, word in enumerate(vocabulary)}
        self.embed = nn.Embedding(len(vocabulary) + 2, width, padding_idx=0)
        self.mix = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)

    @staticmethod
    def split(instruction: str) -> list[str]:
        return re.findall(r"\w+", instruction.lower())

    @classmethod
    def vocabulary(cls, instructions: list[str]) -> tuple[str, ...]:
        return tuple(sorted({word for text in instructions for word in cls.split(text)}))

    def forward(self, instructions: list[str]) -> tuple[Tensor, Tensor]:
        words = [[self.index.get(word, 1) for word in self.split(text)] or [1] for text in instructions]
        longest = max(map(len, words))
        ids = torch.tensor([w + [0] * (longest - len(w)) for w in words], device=self.embed.weight.device)
        real = ids != 0
        tokens = self.embed(ids) + sinusoids(longest, self.width).to(self.embed.weight)
        return self.mix(tokens, src_key_padding_mask=~real), real


class PretrainedText(nn.Module):
    """A language encoder by name or local folder (RoBERTa and its like): token outputs."""

    def __init__(self, source: str | dict[str, Any], frozen: bool) -> None:
        super().__init__()
        self.model, self.facts = _model(source)
        self.tokenizer, words = _tokenizer(source)
        self.facts |= {"tokenizer": words}
        self.width = int(self.model.config.hidden_size)
        self.frozen = frozen
        self.model.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Self:
        """A frozen model stays as it is at run time: without dropout."""
        super().train(mode)
        self.model.train(mode and not self.frozen)
        return self

    def forward(self, instructions: list[str]) -> tuple[Tensor, Tensor]:
        words = self.tokenizer(instructions, padding=True, return_tensors="pt").to(self.model.device)
        with torch.set_grad_enabled(not self.frozen and torch.is_grad_enabled()):
            tokens = self.model(**words).last_hidden_state
        return tokens, words["attention_mask"].bool()


def _model(source: str | dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A transformers model with its weights, or, from facts, one that awaits them."""
    from transformers import AutoConfig, AutoModel

    if isinstance(source, str):
        model: Any = AutoModel.from_pretrained(source)
        return model, {"kind": model.config.model_type, "config": model.config.to_dict()}
    settings = dict(source["config"])
    settings.pop("model_type", None)
    return AutoModel.from_config(AutoConfig.for_model(source["kind"], **settings)), {
        "kind": source["kind"],
        "config": source["config"],
    }


def _colours(source: str | dict[str, Any], kind: str) -> list[list[float]]:
    """Mean and spread of the pictures (0..1) that a model was trained on."""
    from transformers import BaseImageProcessor

    if not isinstance(source, str):
        return list(source["colours"])
    try:
        said, _ = BaseImageProcessor.get_image_processor_dict(source)
    except OSError:
        said = {}
    mean, spread = IMAGENET if "dino" in kind else ([0.5] * 3, [0.5] * 3)
    return [list(said.get("image_mean", mean)), list(said.get("image_std", spread))]


def _tokenizer(source: str | dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A fast tokenizer and the text that makes it again."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if isinstance(source, str):
        loaded: Any = AutoTokenizer.from_pretrained(source)
        return loaded, {"words": loaded.backend_tokenizer.to_str(), "pad": loaded.pad_token}
    facts = source["tokenizer"]
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(facts["words"]), pad_token=facts["pad"])
    return made, facts


def sinusoids(length: int, width: int) -> Tensor:
    """Positions as sines and cosines (length, width). Vaswani et al. 2017, section 3.5."""
    rate = torch.exp(torch.arange(0, width, 2) * (-9.210340371976184 / width))
    angle = torch.arange(length)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width]


def whitening(colours: Tensor) -> Tensor:
    """The symmetric matrix (3, 3) after which colours (N, 3) vary as much in every direction as they did in the widest.

    Symmetric (ZCA), so that red stays red. What varies less than `DULL` is taken to vary that much.
    """
    spread, axes = torch.linalg.eigh(torch.cov(colours.T.double()))
    spread = spread.clamp_min(0) + DULL**2
    return ((axes * (spread.amax() / spread).sqrt()) @ axes.T).to(colours)


def is_name(name: str) -> bool:
    """Say whether a pre-trained model was asked for.

    Raises:
        FileNotFoundError: it was asked for by a path that does not exist.
    """
    if name.startswith((".", "/")) and not Path(name).is_dir():
        raise FileNotFoundError(f"no folder {name!r}; give one written by save_pretrained, or a model's name")
    return bool(name)


def stretch(tokens: Tensor, real: Tensor, length: int) -> Tensor:
    """Interpolate each row's real tokens (B, L, h) linearly to ``length``; padding has no influence. CCoL Eq. 7."""
    last = real.sum(1, keepdim=True) - 1
    place = torch.linspace(0, 1, length, device=tokens.device)[None] * last
    low = place.floor().long()
    share = (place - low)[..., None]
    high = torch.minimum(low + 1, last)
    at = torch.arange(len(tokens), device=tokens.device)[:, None]
    return tokens[at, low] * (1 - share) + tokens[at, high] * share


def mean_word(tokens: Tensor, real: Tensor) -> Tensor:
    """Mean of the real tokens: (B, 1, h)."""
    return (tokens * real[..., None]).sum(1, keepdim=True) / real.sum(1)[:, None, None]
