"""CLAP-NTP: a vision-language model that answers what to do next, in words and then in action tokens (Eq. 5)."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learners.clap.augment import Photometric
from learners.clap.mixture import Lesson
from learners.clap.prompt import (
    ACTION,
    IGNORED,
    KINDS,
    TEMPLATE,
    TEXT,
    Answers,
    Asked,
    Inputs,
    drop_wrists,
    encode,
    said,
)
from learners.clap.vlm import Qwen, Vlm
from learners.clap.writing import MISSING, Grammar, Tokens, constrained, free, opening, parse
from learners.data import Examples
from learners.footage import ARMS
from learners.train import Tell, Training, following, silent, train


@dataclass(frozen=True)
class Ntp:
    """How the token policy is made and taught."""

    vlm: Vlm = field(default_factory=Vlm)
    light: Photometric | None = None
    """How far light varies on the pictures that it learns from; None for as they came."""
    wrist_drop: float = 0.5
    """How often, in training, a wrist camera shows the head's picture."""
    film: float = 0.5
    """Share of film in what is learned from."""
    text: int = 24
    """Most tokens of a subtask that it writes."""
    beginnings: int = 4
    """Eyes that foretell are begun so many times, and what foretells best goes on: some never find what is named.

    With 0, they learn with the rest from the first step.
    """
    alone: int = 300
    """Steps for which each of them learns by itself."""
    training: Training = field(default_factory=Training)

    @classmethod
    def preset(cls, name: str) -> Self:
        """``tiny``, ``small`` (two CPU cores, minutes), ``paper`` and ``release``.

        Raises:
            ValueError: there is no such preset.
        """
        large = Training(
            optimizer="adamw",
            lr=5e-5,
            weight_decay=1e-2,
            warmup=1000,
            batch=512,
            steps=150_000,
            steady=2 / 3,
            least=0.1,
            precision="bf16",
        )
        little = Training(optimizer="adamw", lr=2e-3, weight_decay=1e-2, warmup=50, batch=32, steps=1000, ema=0.0)
        known = {
            "tiny": replace(little, batch=8, steps=30, warmup=5),
            "small": little,
            "paper": large,
            "release": replace(large, steps=50_000, steady=0.0),
        }
        if name not in known:
            raise ValueError(f"no preset {name!r}; there are {', '.join(known)}")
        # Eyes that are made here remember scenes; a published backbone has seen all kinds of light.
        light = Photometric(grey=0.0) if name == "small" else None
        return cls(vlm=Vlm.preset(name), light=light, training=known[name])


@dataclass(frozen=True)
class Looked:
    """What one pass of the model over a batch gave."""

    hidden: tuple[Tensor, ...]
    """Block by block, its output (B, L, width); prompt positions are the same with an answer behind them as without.

    The first blocks' are as they were before pictures are added to them again (DeepStack); the last went through the
    norm that scores are read from.
    """
    mask: Tensor
    """(B, L) bool: positions of the prompt."""
    logits: Tensor
    """(B, A, vocabulary): scores of the answer's tokens, each from the position before; of a prompt, of the next."""
    labels: Tensor
    """(B, A): the tokens that these are scores of, -100 where there is none."""
    part: Tensor
    """(B, A): whether that is of the text, an action code, or what closes the answer."""
    cache: Any = None
    """Keys and values of every layer, when they were asked for."""
    foretold: Tensor | None = None
    """(B, 2 * N * numbers): what the eyes alone foretell of the codes, when they are to."""


class NtpNet(nn.Module):
    """The model with its prompt, losses and decoding. All of it is rebuilt from ``facts`` and the tensors."""

    def __init__(
        self,
        how: Ntp,
        codes: int,
        entries: int,
        texts: Sequence[str] = (),
        facts: dict[str, Any] | None = None,
    ) -> None:
        """``codes`` of ``entries`` each tell an arm's chunk; ``texts`` are the instructions and subtasks there are."""
        super().__init__()
        self.how, self.codes, self.entries = how, codes, entries
        self.qwen = Qwen(how.vlm, entries, [*TEMPLATE, *(f" {said(text)}" for text in texts)], facts, codes)
        foresee = how.vlm.sizes.foresee if self.qwen.pictures.points else 0
        self.register_buffer("meanings", torch.zeros(entries, foresee), persistent=foresee > 0)

    @property
    def facts(self) -> dict[str, Any]:
        return self.qwen.facts

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def knows(self, meanings: Tensor) -> None:
        """Learn what codes mean: their vectors (entries, numbers), which its eyes foretell if they are to."""
        if self.get_buffer("meanings").numel():
            self.get_buffer("meanings").copy_(meanings.detach())

    def begin(self, data: Examples[Lesson], run: Path | None = None, tell: Tell = silent) -> None:
        """Find eyes to begin with, if they are to foretell: once, before anything else is learned."""
        many, steps = self.how.beginnings, self.how.alone
        if not many or not self.get_buffer("meanings").numel():
            return
        how = replace(self.how.training, steps=steps, warmup=min(10, steps), least=1.0, ema=0.0)
        begun = [Beginning(self, how.seed + number) for number in range(many)]
        off = list[float]()
        for number, each in enumerate(begun):
            told = following(number * steps, many * steps, tell)
            off.append(train(each, data, how, run and run / f"eyes-{number}", told)["loss"])
        self.load_state_dict(begun[off.index(min(off))].net.state_dict())

    def fit(self, data: Examples[Lesson], run: Path | None = None, tell: Tell = silent) -> dict[str, float]:
        """Learn from lessons; returns the last losses."""
        return train(self, data, self.how.training, run, tell)

    def inputs(self, lesson: Lesson) -> Inputs:
        """Questions and answers of a lesson; in training, some wrist pictures are the head's, and light varies."""
        images = lesson.images
        if self.training and self.how.wrist_drop:
            images = drop_wrists(images, self.how.wrist_drop)
        if self.training and (light := self.how.light) is not None:
            images = light.seen(images / 255, light.draw(len(images))) * 255
        asked = Asked(images, lesson.categories, lesson.instructions)
        return self._encode(asked, Answers(lesson.subtasks, lesson.codes, lesson.arms))

    def ask(self, images: Tensor, instructions: Sequence[str], arms: Tensor) -> Inputs:
        """Questions about pictures (B, V, 3, H, W) to a robot with these arms (B, 2) or (2,)."""
        arms = arms.expand(len(images), 2)
        kinds = [KINDS[bool(left), bool(right)] for left, right in arms.tolist()]
        return self._encode(Asked(images, kinds, instructions))

    def look(self, inputs: Inputs, remember: bool = False) -> Looked:
        """One pass of the model; with ``remember``, what it needs to go on writing."""
        out, foretold = self.qwen.read(inputs, remember)
        last: Tensor = out.last_hidden_state
        many = max(inputs.answer, 1)
        labels, part = inputs.labels[:, -many:], inputs.part[:, -many:]
        scores = self.qwen.logits(last[:, -many - 1 : -1] if inputs.answer else last[:, -1:])
        return Looked(tuple(out.hidden_states[1:]), inputs.prompt, scores, labels, part, out.past_key_values, foretold)

    def losses(self, batch: Lesson) -> dict[str, Tensor]:
        """Eq. 5 as the mean over the answers' tokens, in two terms: words, and actions with what closes them.

        Ours: eyes that foretell are also taught what the codes mean, as numbers.
        """
        looked = self.look(self.inputs(batch))
        terms = token_losses(looked)
        if looked.foretold is not None:
            terms["foretold"] = self.off(looked.foretold, batch)
        return terms

    @torch.no_grad()
    def draft(self, images: Tensor, instructions: Sequence[str], arms: Tensor, constrained: bool = True) -> Tokens:
        """What the model answers, greedily: codes of each arm and the subtask."""
        inputs = self.ask(images, instructions, arms)
        return self.write(inputs, self.look(inputs, remember=True), arms.expand(len(images), 2), constrained)

    @torch.no_grad()
    def write(self, inputs: Inputs, looked: Looked, arms: Tensor, only_answers: bool = True) -> Tokens:
        """Go on from one pass over the prompts: the answers to them."""
        vocabulary, many = self.qwen.vocabulary, len(inputs.ids)
        pen = Pen(self, inputs, looked)
        begin = torch.tensor(opening(vocabulary), device=self.device).expand(many, -1)
        scores, arms = pen.read(begin), arms.to(self.device)
        if only_answers:
            grammar = Grammar.of(vocabulary, scores.shape[-1], self.codes, self.device)
            ids = constrained(grammar, arms, scores, pen.step, self.how.text)
        else:
            ids = free(vocabulary.end, scores, pen.step, self.how.text + 2 * self.codes + 8)
        codes = torch.full((many, 2, self.codes), MISSING)
        subtasks, malformed = [], torch.zeros(many, dtype=torch.bool)
        for row, (written, both) in enumerate(zip(ids.tolist(), arms.tolist(), strict=True)):
            subtask, found = parse(vocabulary, written, both, self.codes)
            subtasks.append(subtask)
            malformed[row] = found is None
            if found is not None:
                codes[row] = found
        return Tokens(codes.to(self.device), subtasks, malformed.to(self.device))

    def attribute(self, lesson: Lesson) -> Tensor:
        """How much each patch counts for the action codes of a lesson: (B, V, rows, columns), gradient times input."""
        inputs = self.inputs(lesson)
        pixels = inputs.pixels.clone().requires_grad_()
        looked = self.look(replace(inputs, pixels=pixels))
        scores = looked.logits.gather(-1, looked.labels.clamp(min=0)[..., None])[..., 0]
        (slope,) = torch.autograd.grad(scores[looked.part == ACTION].sum(), pixels)
        weight = self.qwen.pictures.laid_out((slope * pixels).detach(), *inputs.grid[0, 1:].tolist())
        return weight.sum(-1).abs().unflatten(0, lesson.images.shape[:2])

    def off(self, foretold: Tensor, batch: Lesson) -> Tensor:
        """How far what is foretold is from what the codes mean, over how far codes are apart.

        Raises:
            RuntimeError: nobody said what they mean.
        """
        meanings = self.get_buffer("meanings")
        if not meanings.any():
            raise RuntimeError("the token policy does not know what its codes mean; tell it: knows")
        wanted = meanings[batch.codes[batch.arms]]
        told = foretold.unflatten(1, (len(ARMS), *wanted.shape[1:]))[batch.arms]
        return F.smooth_l1_loss(told / meanings.std(), wanted / meanings.std(), beta=0.3)

    def _encode(self, asked: Asked, answers: Answers | None = None) -> Inputs:
        return encode(self.qwen.vocabulary, self.qwen.pictures, asked, answers).to(self.device)


class Beginning(nn.Module):
    """A token policy with new eyes, of which only these learn, and what words mean to them: to foretell."""

    def __init__(self, net: NtpNet, seed: int) -> None:
        super().__init__()
        self.net = copy.deepcopy(net)
        torch.manual_seed(seed)
        self.net.qwen.begin_to_see()

    def losses(self, batch: Lesson) -> dict[str, Tensor]:
        """How far off what they foretell is."""
        _, _, foretold = self.net.qwen.see(self.net.inputs(batch))
        return {} if foretold is None else {"foretold": self.net.off(foretold, batch)}


class Pen:
    """Writes behind prompts: what it reads is remembered in the cache of ``looked``."""

    def __init__(self, net: NtpNet, inputs: Inputs, looked: Looked) -> None:
        """Go on from a pass over ``inputs`` that was remembered.

        Raises:
            ValueError: it was not.
        """
        if looked.cache is None:
            raise ValueError("nothing was remembered of that pass; look with remember=True")
        self.net, self.cache = net, looked.cache
        self.mask = inputs.model["attention_mask"]
        self.place = inputs.next_place

    def step(self, ids: Tensor) -> Tensor:
        return self.read(ids[:, None])

    def read(self, ids: Tensor) -> Tensor:
        """Read tokens (B, n); scores (B, vocabulary) of the one that follows."""
        places = self.place[:, None] + torch.arange(ids.shape[1], device=ids.device)
        self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        self.place = self.place + ids.shape[1]
        out = self.net.qwen.model.language_model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=places.expand(3, -1, -1),
            past_key_values=self.cache,
            use_cache=True,
        )
        return self.net.qwen.logits(out.last_hidden_state[:, -1])


def token_losses(looked: Looked) -> dict[str, Tensor]:
    """Cross-entropy of the answers' tokens; both terms together are its mean."""
    flat = F.cross_entropy(
        looked.logits.flatten(0, 1).float(), looked.labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    of_text = looked.part.flatten() == TEXT
    count = (looked.labels != IGNORED).sum()
    return {"text": (flat * of_text).sum() / count, "action": (flat * ~of_text).sum() / count}
