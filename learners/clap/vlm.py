"""A Qwen3-VL that can also say action tokens: by name, from a folder, or a small one made here.

Notable: the output matrix of a model that ties it to its embedding is not a second parameter, so that nothing is
stored twice; positions are counted in `learners.clap.prompt`, so that nothing is remembered between two calls.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import sinusoids
from learners.clap.lora import ActRows, adapt

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
LINE_BREAK = "\u010a"
"""A line's end, as a byte-level tokenizer writes it."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Sizes:
    """A Qwen3-VL made here. Heads have ``width / heads`` numbers each, a multiple of 16."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    key_heads: int = 2
    feedforward: int = 256
    patch: int = 8
    """Pixels; a token of the picture is made of 2 x 2 patches."""
    vision_width: int = 64
    vision_layers: int = 3
    vision_heads: int = 4
    vision_feedforward: int = 128
    pieces: int = 1024
    """Most entries of the vocabulary, without action tokens."""


@dataclass(frozen=True)
class Vlm:
    """Which model, and how much of it learns."""

    source: str = ""
    """A name or a folder that `transformers` loads; without one a model of `sizes` is made here, untrained."""
    sizes: Sizes = field(default_factory=Sizes)
    lora: int = 0
    """Rank of the low-rank updates to the language model; with 0 everything learns."""
    checkpointing: bool = False
    """Compute activations a second time instead of keeping them: less memory, a third more time."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    least_pixels: int | None = None
    """Pictures with fewer pixels are enlarged; None leaves it to the model's own processor."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny`` (< 1 M numbers), ``small`` (two CPU cores), ``paper`` and ``release``.

        Raises:
            ValueError: there is no such preset.
        """
        tiny = Sizes(64, 4, 4, 2, 128, 16, 32, 2, 2, 64)
        known = {
            "tiny": cls(sizes=tiny),
            "small": cls(),
            "paper": cls("Qwen/Qwen3-VL-4B-Instruct", dtype="bfloat16", checkpointing=True),
            "release": cls("Qwen/Qwen3-VL-4B-Instruct", dtype="bfloat16", checkpointing=True),
        }
        if name not in known:
            raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
        return known[name]


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


class Qwen(nn.Module):
    """The model, its vocabulary and how it sees pictures.

    ``facts`` and the tensors are all that it takes to build it again, without the name or folder it came from.
    """

    def __init__(self, how: Vlm, entries: int, texts: Sequence[str] = (), facts: dict[str, Any] | None = None) -> None:
        """Load or make a model that knows ``entries`` action codes.

        ``texts`` are what the vocabulary of a model made here is read off; ``facts`` are of one that was saved.
        """
        super().__init__()
        self.how = how
        if facts is not None:
            words, pictures, model = facts["words"], Pictures(**_tuples(facts["pictures"])), _blank(facts["config"])
        elif how.source:
            words, pictures, model = _loaded(how)
        else:
            words = _words(texts, how.sizes.pieces)
            pictures, model = _pictures(how.sizes), _fresh(how.sizes, words)
        if how.least_pixels is not None:
            pictures = replace(pictures, least=how.least_pixels)
        self.pictures = pictures
        self.vocabulary = Vocabulary(words, entries)
        if facts is None:
            _make_room(model, self.vocabulary)
        config = model.config
        self.config = config.to_dict()
        self.width = int(config.text_config.hidden_size)
        self.layers = int(config.text_config.num_hidden_layers)
        self.model: Any = model.model
        self.tied = bool(config.tie_word_embeddings)
        self.head: Any = None if self.tied else model.lm_head
        self.to(DTYPES[how.dtype])
        if how.lora:
            self._adapt(how.lora)
        if how.checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    @property
    def facts(self) -> dict[str, Any]:
        return {"config": self.config, "words": self.vocabulary.json, "pictures": asdict(self.pictures)}

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., vocabulary) from what the last block and its norm gave (..., width)."""
        table = self.model.language_model.embed_tokens if self.head is None else self.head
        return F.linear(hidden, table.weight)

    def _adapt(self, rank: int) -> None:
        """Let only low-rank updates and the action tokens' rows learn."""
        first, count = self.vocabulary.first, self.vocabulary.entries + 1
        self.model.requires_grad_(False)
        adapt(self.model.language_model, rank, first, count)
        if self.head is not None:
            self.head.requires_grad_(False)
            self.head = ActRows(self.head, first, count)


def make_tiny(folder: Path, texts: Sequence[str], sizes: Sizes, seed: int = 0) -> None:
    """Save an untrained Qwen3-VL with tokenizer and processor to a folder, as published ones are."""
    import transformers
    from tokenizers import Tokenizer

    hf: Any = transformers
    words, seen = _words(texts, sizes.pieces), _pictures(sizes)
    torch.manual_seed(seed)
    _fresh(sizes, words).save_pretrained(folder)
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(words), pad_token=SPECIAL[0], eos_token=SPECIAL[2]
    )
    bounds = {"shortest_edge": seen.least, "longest_edge": seen.most}
    each = {"patch_size": seen.patch, "temporal_patch_size": seen.frames, "merge_size": seen.merge, "size": bounds}
    both = {**each, "image_mean": list(seen.mean), "image_std": list(seen.std)}
    processor = hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(**both), tokenizer, hf.Qwen3VLVideoProcessor(**both), chat_template=TEMPLATE
    )
    processor.save_pretrained(folder)


TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""How Qwen writes a conversation of text and pictures."""


def _loaded(how: Vlm) -> tuple[str, Pictures, Any]:
    """Tokenizer, picture settings and model with its weights, by name or folder."""
    from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLForConditionalGeneration

    tokenizer: Any = AutoTokenizer.from_pretrained(how.source)
    seen: Any = AutoImageProcessor.from_pretrained(how.source)
    model: Any = Qwen3VLForConditionalGeneration.from_pretrained(how.source, dtype=DTYPES[how.dtype])
    pictures = Pictures(
        int(seen.patch_size),
        int(seen.merge_size),
        int(seen.temporal_patch_size),
        tuple(seen.image_mean),
        tuple(seen.image_std),
        int(seen.size["shortest_edge"]),
        int(seen.size["longest_edge"]),
    )
    return tokenizer.backend_tokenizer.to_str(), pictures, model


def _blank(config: dict[str, Any]) -> Any:
    """A model that awaits its weights."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(config))


@torch.no_grad()
def _fresh(sizes: Sizes, words: str) -> Any:
    """An untrained model. Places in a picture are sines, so that it need not learn where is where."""
    model = _blank(_config(sizes, words))
    side, share = GRID, sizes.vision_width // 2
    axis = sinusoids(side, share)
    rows, columns = axis.repeat_interleave(side, 0), axis.repeat(side, 1)
    model.model.visual.pos_embed.weight.copy_(torch.cat([rows, columns], dim=1))
    return model


@torch.no_grad()
def _make_room(model: Any, vocabulary: Vocabulary) -> None:
    """Give every action token a row: the mean of the words' rows, and a little noise. CLAP release."""
    known = vocabulary.first
    if len(vocabulary) > model.config.text_config.vocab_size:
        model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    if not model.config.tie_word_embeddings:
        tables.append(model.lm_head.weight)
    for table in tables:
        old = table[:known].float()
        new = old.mean(0) + NOISE * old.std() * torch.randn(vocabulary.entries + 1, old.shape[1], device=old.device)
        table[known : known + len(new)] = new.to(table.dtype)


GRID = 12
"""Places along a side of the picture that a model made here knows; between them they are interpolated."""
NOISE = 0.02
"""Spread of the new rows, as a share of the old ones' spread."""


def _pictures(sizes: Sizes) -> Pictures:
    unit = (2 * sizes.patch) ** 2
    return Pictures(sizes.patch, 2, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), unit, 4096 * unit)


def _words(texts: Sequence[str], pieces: int) -> str:
    """A tokenizer's JSON whose pieces are the words of these texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _config(sizes: Sizes, words: str) -> dict[str, Any]:
    """What Qwen3-VL needs to know of a model of these sizes."""
    plain = Vocabulary(words, 0)
    head = sizes.width // sizes.heads
    turn = head // 8
    text = {
        "vocab_size": plain.first,
        "hidden_size": sizes.width,
        "intermediate_size": sizes.feedforward,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_heads,
        "head_dim": head,
        "initializer_range": sizes.width**-0.5,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [head // 2 - 2 * turn, turn, turn],
            "mrope_interleaved": True,
        },
    }
    vision = {
        "depth": sizes.vision_layers,
        "hidden_size": sizes.vision_width,
        "intermediate_size": sizes.vision_feedforward,
        "num_heads": sizes.vision_heads,
        "patch_size": sizes.patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "out_hidden_size": sizes.width,
        "num_position_embeddings": GRID**2,
        "initializer_range": sizes.vision_width**-0.5,
        "deepstack_visual_indexes": list(range(min(2, sizes.vision_layers - 1))),
    }
    return {
        "text_config": text,
        "vision_config": vision,
        "image_token_id": plain.image,
        "video_token_id": plain.id("<|video_pad|>"),
        "vision_start_token_id": plain.id("<|vision_start|>"),
        "vision_end_token_id": plain.id("<|vision_end|>"),
        "tie_word_embeddings": True,
    }


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that were through JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
