"""CLIP's two towers, by name, from a folder, or small ones made here; and how words change what pictures say.

Notable: ``facts`` and the tensors are all that it takes to build it again, without the name or folder it came from.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.backbones import is_name

START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class Sizes:
    """Towers made here."""

    width: int = 64
    """Of an embedding, that pictures and words share."""
    layers: int = 2
    heads: int = 4
    hidden: int = 64
    feedforward: int = 128
    image: int = 96
    patch: int = 16
    length: int = 96
    """Most tokens of a text."""


@dataclass(frozen=True)
class Clip:
    """Which towers, and how much of them learns."""

    source: str = ""
    """A name or folder that `transformers` loads; without one, towers of `sizes` are made here, untrained."""
    sizes: Sizes = field(default_factory=Sizes)
    freeze_pictures: bool = False
    freeze_words: bool = False


@dataclass(frozen=True)
class Pictures:
    """How the picture tower wants its pictures."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Towers(nn.Module):
    """Pictures and words as vectors of one width."""

    def __init__(
        self, how: Clip, texts: Sequence[str] = (), facts: dict[str, Any] | None = None, blind: bool = False
    ) -> None:
        """Load or make the towers.

        Args:
            how: which.
            texts: what the vocabulary of towers made here is read off.
            facts: those of towers that were saved.
            blind: words alone.

        Raises:
            FileNotFoundError: they were asked for by a path that does not exist.
        """
        super().__init__()
        if facts is not None:
            words, pictures, model = facts["words"], _pictures(facts["pictures"]), _blank(facts["config"])
        elif is_name(how.source):
            words, pictures, model = _loaded(how.source)
        else:
            words = _words(texts)
            pictures = Pictures(how.sizes.image, (0.5,) * 3, (0.5,) * 3)
            model = _blank(_config(how.sizes, words))
        self.words, self.pictures, self.config = words, pictures, model.config.to_dict()
        self.width = int(model.config.projection_dim)
        self.length = int(model.config.text_config.max_position_embeddings)
        self.text, self.to_text = model.text_model, model.text_projection
        self.vision: Any = None if blind else model.vision_model
        self.to_vision: Any = None if blind else model.visual_projection
        self._frozen = [part for part in self._parts(how) if part is not None]
        for part in self._frozen:
            part.requires_grad_(False)
        self._tokenizer = _tokenizer(words, self.length)

    @property
    def facts(self) -> dict[str, Any]:
        """What makes it again."""
        return {"config": self.config, "words": self.words, "pictures": asdict(self.pictures)}

    def train(self, mode: bool = True) -> Self:
        """What is frozen stays as it is at run time."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def look(self, images: Tensor) -> Tensor:
        """Embeddings (B, V, e) of pictures (B, V, 3, H, W), 0..255."""
        seen, side = self.pictures, self.pictures.side
        flat = images.flatten(0, 1).float()
        if flat.shape[-2:] != (side, side):
            flat = F.interpolate(flat, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
        mean, std = (flat.new_tensor(each)[:, None, None] * 255 for each in (seen.mean, seen.std))
        pooled = self.vision(pixel_values=(flat - mean) / std).pooler_output
        return self.to_vision(pooled).unflatten(0, images.shape[:2])

    def say(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (B, e) of texts; each different one is looked at once."""
        unique = sorted(set(texts))
        places = torch.tensor([unique.index(text) for text in texts])
        ids = [encoded.ids for encoded in self._tokenizer.encode_batch(unique)]
        device, longest = self.to_text.weight.device, max(map(len, ids))
        end = self._tokenizer.token_to_id(END)
        tokens = torch.tensor([row + [end] * (longest - len(row)) for row in ids], device=device)
        real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids], device=device)
        pooled = self.text(input_ids=tokens, attention_mask=real).pooler_output
        return self.to_text(pooled)[places.to(device)]

    def spoken(self) -> "Towers":
        """A copy of the words' half, that never learns."""
        kept = (self.vision, self.to_vision)
        self.vision = self.to_vision = None
        try:
            return copy.deepcopy(self).eval().requires_grad_(False)
        finally:
            self.vision, self.to_vision = kept

    def _parts(self, how: Clip) -> list[Any]:
        pictures = [self.vision, self.to_vision] if how.freeze_pictures else []
        return pictures + ([self.text, self.to_text] if how.freeze_words else [])


class Film(nn.Module):
    """What is said scales and shifts what is seen. Until it has learned, it changes nothing. Perez et al. 2018."""

    def __init__(self, said: int, seen: int) -> None:
        super().__init__()
        self.how = nn.Linear(said, 2 * seen)
        nn.init.zeros_(self.how.weight)
        nn.init.zeros_(self.how.bias)

    def forward(self, seen: Tensor, said: Tensor) -> Tensor:
        """``(1 + gamma) * seen + beta`` of what is seen (B, ..., w), by what is said (B, said)."""
        between = (len(seen), *[1] * (seen.dim() - 2), -1)
        gamma, beta = (part.reshape(between) for part in self.how(said).chunk(2, dim=-1))
        return (1 + gamma) * seen + beta


class Adapter(nn.Sequential):
    """From what is seen, as words change it, to the space of words."""

    def __init__(self, seen: int, hidden: int, width: int) -> None:
        super().__init__(
            nn.Linear(seen, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )


def make_tiny(folder: str, texts: Sequence[str], sizes: Sizes, seed: int = 0) -> None:
    """Save untrained towers with tokenizer and picture settings to a folder, as published ones are."""
    import transformers
    from tokenizers import Tokenizer

    hf: Any = transformers
    words = _words(texts)
    torch.manual_seed(seed)
    _blank(_config(sizes, words)).save_pretrained(folder)
    hf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(words), bos_token=START, eos_token=END, pad_token=END
    ).save_pretrained(folder)
    square = {"height": sizes.image, "width": sizes.image}
    hf.CLIPImageProcessor(
        size={"shortest_edge": sizes.image}, crop_size=square, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)


def _loaded(source: str) -> tuple[str, Pictures, Any]:
    """Tokenizer, picture settings and model with its weights."""
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    seen: Any = AutoImageProcessor.from_pretrained(source)
    model: Any = CLIPModel.from_pretrained(source)
    side = int(model.config.vision_config.image_size)
    return (
        tokenizer.backend_tokenizer.to_str(),
        Pictures(side, tuple(seen.image_mean), tuple(seen.image_std)),
        model,
    )


def _blank(config: dict[str, Any]) -> Any:
    """A model that awaits its weights."""
    from transformers import CLIPConfig, CLIPModel

    return CLIPModel(CLIPConfig.from_dict(config))


def _config(sizes: Sizes, words: str) -> dict[str, Any]:
    from tokenizers import Tokenizer

    known: Any = Tokenizer.from_str(words)
    each = {
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "intermediate_size": sizes.feedforward,
    }
    text = {
        "vocab_size": known.get_vocab_size(),
        "max_position_embeddings": sizes.length,
        "bos_token_id": known.token_to_id(START),
        "eos_token_id": known.token_to_id(END),
        "pad_token_id": known.token_to_id(END),
    }
    vision = {"image_size": sizes.image, "patch_size": sizes.patch}
    return {"text_config": each | text, "vision_config": each | vision, "projection_dim": sizes.width}


def _pictures(facts: dict[str, Any]) -> Pictures:
    return Pictures(int(facts["side"]), tuple(facts["mean"]), tuple(facts["std"]))


def _words(texts: Sequence[str]) -> str:
    """A tokenizer's JSON that knows the words of these texts, and the letters of any other."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=[START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    marks = [(START, tokenizer.token_to_id(START)), (END, tokenizer.token_to_id(END))]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=marks)
    return str(tokenizer.to_str())


def _tokenizer(words: str, length: int) -> Any:
    """The tokenizer, which cuts what is too long and keeps the end's mark."""
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_str(words)
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer
