"""A Qwen3-VL that can also say action tokens: by name, from a folder, or a small one made here.

Notable: the output matrix of a model that ties it to its embedding is not a second parameter, so that nothing is
stored twice; positions are counted in `learners.clap.prompt`, so that nothing is remembered between two calls.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.clap.little import Sizes, blank, eyes, fresh, tokenizer_of
from learners.clap.lora import ActRows, adapt
from learners.clap.points import Points
from learners.clap.prompt import Inputs
from learners.clap.reading import Pictures, Vocabulary
from learners.footage import ARMS

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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
            "small": cls(sizes=Sizes(layers=2, points=16)),
            "paper": cls("Qwen/Qwen3-VL-4B-Instruct", dtype="bfloat16", checkpointing=True),
            "release": cls("Qwen/Qwen3-VL-4B-Instruct", dtype="bfloat16", checkpointing=True),
        }
        if name not in known:
            raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
        return known[name]


class Qwen(nn.Module):
    """The model, its vocabulary and how it sees pictures.

    ``facts`` and the tensors are all that it takes to build it again, without the name or folder it came from.
    """

    def __init__(
        self,
        how: Vlm,
        entries: int,
        texts: Sequence[str] = (),
        facts: dict[str, Any] | None = None,
        codes: int = 0,
    ) -> None:
        """Load or make a model that knows ``entries`` action codes, of which ``codes`` make an arm's chunk.

        ``texts`` are what the vocabulary of a model made here is read off; ``facts`` are of one that was saved.
        """
        super().__init__()
        self.how = how
        if facts is not None:
            words, pictures, model = facts["words"], Pictures(**_tuples(facts["pictures"])), blank(facts["config"])
        elif how.source:
            words, pictures, model = _loaded(how)
        else:
            words = tokenizer_of(texts, how.sizes.pieces)
            pictures, model = eyes(how.sizes), fresh(how.sizes, words)
        if how.least_pixels is not None:
            pictures = replace(pictures, least=how.least_pixels)
        self.pictures = pictures
        self.width = int(model.config.text_config.hidden_size)
        self._foretold = len(ARMS) * codes * how.sizes.foresee
        self.model: Any = model.model
        if pictures.points:
            self.begin_to_see()
        self.vocabulary = Vocabulary(words, entries)
        if facts is None:
            _make_room(model, self.vocabulary, NOISE if how.source else 1.0)
        config = model.config
        self.config = config.to_dict()
        self.layers = int(config.text_config.num_hidden_layers)
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

    def begin_to_see(self) -> None:
        """Have eyes that were taught nothing yet, and end in key points."""
        eyes = Points(self.pictures.points, self.how.sizes.channels, self.width, self._foretold)
        self.model.visual = eyes.to(self.model.language_model.embed_tokens.weight)

    def see(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor | None]:
        """What is said (B, L, width), tokens of what key points see, and what they foretell."""
        words = self.model.language_model.embed_tokens(inputs.ids)
        return words, *self.model.visual(inputs.pixels.to(words.dtype), words, inputs.task)

    def read(self, inputs: Inputs, remember: bool = False) -> tuple[Any, Tensor | None]:
        """One pass of the model, as `Qwen3VLModel` answers, with its cache to ``remember``; and what eyes foretell."""
        wanted: dict[str, Any] = {"use_cache": remember, "output_hidden_states": True}
        if not self.pictures.points:
            return self.model(**inputs.model, **wanted), None
        words, seen, foretold = self.see(inputs)
        shown = words.masked_scatter((inputs.seen == 1)[..., None], seen)
        given = {name: inputs.model[name] for name in ("attention_mask", "position_ids")}
        return self.model.language_model(inputs_embeds=shown, **given, **wanted), foretold

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


@torch.no_grad()
def _make_room(model: Any, vocabulary: Vocabulary, noise: float) -> None:
    """Give every action token a row: the mean of the words' rows, and a little noise. CLAP release.

    Where words mean nothing yet, there is as much noise as in their rows: action tokens that are all alike take long
    to be told apart.
    """
    known = vocabulary.first
    if len(vocabulary) > model.config.text_config.vocab_size:
        model.resize_token_embeddings(len(vocabulary), mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    if not model.config.tie_word_embeddings:
        tables.append(model.lm_head.weight)
    for table in tables:
        old = table[:known].float()
        new = old.mean(0) + noise * old.std() * torch.randn(vocabulary.entries + 1, old.shape[1], device=old.device)
        table[known : known + len(new)] = new.to(table.dtype)


NOISE = 0.02
"""Spread of the new rows, as a share of the old ones' spread, in a model that was trained before."""


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that were through JSON."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
