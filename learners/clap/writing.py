"""Write an answer token by token: greedily, and, when asked for, only what an answer may be.

Every sample writes one token a step, so that a batch shares one cache; which tokens it may write is looked up in a
table of sets, by how far it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from learners.clap.prompt import ACTIONS, SUBTASK
from learners.clap.reading import Vocabulary

MISSING = -1
"""The code of an arm that is not there, or of an answer that has no such form."""

type Step = Callable[[Tensor], Tensor]
"""Read the tokens (B,) that were written and give the next one's scores (B, vocabulary)."""


@dataclass(frozen=True)
class Tokens:
    """What a model answered."""

    codes: Tensor
    """(B, 2, N) long: of the left and the right arm, `MISSING` where there is none."""
    subtasks: list[str]
    malformed: Tensor
    """(B,) bool: it was no answer; never so when the decoding is constrained."""


@dataclass(frozen=True)
class Grammar:
    """What an answer may be: a line of text, ``Action:``, then so many codes."""

    allowed: Tensor
    """(sets, vocabulary) bool: text, then each piece of ``Action:``, codes, and the end."""
    stop: int
    """The token that ends the text."""
    codes: int
    """Of each arm."""

    @classmethod
    def of(cls, vocabulary: Vocabulary, size: int, codes: int, device: torch.device) -> Self:
        """``size`` is how many tokens the model scores."""
        between = vocabulary.encode(ACTIONS)
        allowed = torch.zeros(len(between) + 3, size, dtype=torch.bool)
        allowed[0, : len(vocabulary)] = True
        allowed[0, vocabulary.special + vocabulary.broken] = False
        allowed[0, between[0]] = True
        for number, piece in enumerate(between, 1):
            allowed[number, piece] = True
        allowed[-2, vocabulary.first : vocabulary.first + vocabulary.entries] = True
        allowed[-1, vocabulary.end] = True
        return cls(allowed.to(device), between[0], codes)

    def script(self, arms: Tensor) -> Tensor:
        """Which set each sample's tokens come from, once its text is written: (B, steps)."""
        between = len(self.allowed) - 3
        script = torch.full((len(arms), 1 + between + 2 * self.codes + 1), len(self.allowed) - 1, device=arms.device)
        script[:, 0] = 0
        script[:, 1 : 1 + between] = torch.arange(1, between + 1, device=arms.device)
        many = arms.sum(1, keepdim=True) * self.codes
        place = torch.arange(2 * self.codes, device=arms.device)
        script[:, 1 + between : -1] = torch.where(place < many, len(self.allowed) - 2, len(self.allowed) - 1)
        return script


def constrained(grammar: Grammar, arms: Tensor, scores: Tensor, step: Step, most: int) -> Tensor:
    """The likeliest token at each step among those allowed: (B, T).

    ``scores`` (B, vocabulary) are those of the first token, ``most`` is the longest text.
    """
    script = grammar.script(arms)
    every, last = torch.arange(len(arms), device=arms.device), script.shape[1] - 1
    at = torch.zeros_like(every)
    written: list[Tensor] = []
    for number in range(most + last):
        if number == most:
            # A text that goes on is ended here.
            at = at.clamp(min=1)
        now = script[every, at]
        written.append(scores.masked_fill(~grammar.allowed[now], -torch.inf).argmax(-1))
        after = torch.where((written[-1] == grammar.stop) | (now > 0), at.clamp(min=1) + 1, 0)
        at = after.clamp(max=last)
        if bool((script[every, at] == script[:, -1]).all()):
            break
        scores = step(written[-1])
    return torch.stack(written, 1)


def free(end: int, scores: Tensor, step: Step, most: int) -> Tensor:
    """Whatever scores highest, (B, T), until all samples have ended or ``most`` tokens are written."""
    written: list[Tensor] = []
    over = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    for _ in range(most):
        written.append(scores.argmax(-1))
        over |= written[-1] == end
        if bool(over.all()):
            break
        scores = step(written[-1])
    return torch.stack(written, 1)


def parse(vocabulary: Vocabulary, ids: Sequence[int], arms: Sequence[bool], codes: int) -> tuple[str, Tensor | None]:
    """Subtask and codes (2, N) of an answer, which begins after ``Subtask:``; no codes when it is malformed."""
    said = list(ids[: ids.index(vocabulary.end)]) if vocabulary.end in ids else list(ids)
    begin = next((i for i, each in enumerate(said) if vocabulary.first <= each <= vocabulary.pad_action), len(said))
    text, spoken = vocabulary.decode(said[:begin]), said[begin:]
    subtask = text.removesuffix(ACTIONS).strip()
    if not all(arms) and spoken[-1:] == [vocabulary.pad_action]:
        spoken = spoken[:-1]
    numbers = [each - vocabulary.first for each in spoken]
    whole = len(numbers) == codes * sum(arms) and all(0 <= each < vocabulary.entries for each in numbers)
    if not (whole and text.endswith(ACTIONS) and "\n" not in subtask):
        return subtask, None
    found = torch.full((2, codes), MISSING)
    order = [arm for arm in (1, 0) if arms[arm]]
    found[order] = torch.tensor(numbers).reshape(len(order), codes)
    return subtask, found


def opening(vocabulary: Vocabulary) -> list[int]:
    """How every answer begins."""
    return vocabulary.encode(SUBTASK)
