"""What a Qwen3-VL is told and what it answers: pictures, robot, task; then subtask and action tokens.

The text is that of CLAP's release (methods of section 1.1.4), so that its checkpoints could be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.clap.reading import Pictures, Vocabulary

IGNORED = -100
"""A label that teaches nothing."""
PAD, PROMPT, TEXT, ACTION, END = range(5)
"""What a position is: nothing, of the prompt, of the answer's text, an action code, or what closes the answer."""

BEFORE = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
PICTURE = ("<|vision_start|>", "<|vision_end|>")
ASKED = (
    "Robot category: {category}\nControl the robot to do the task: {instruction}\n"
    "Please output the subtask and the action tokens.<|im_end|>\n<|im_start|>assistant\n"
)
SUBTASK, ACTIONS = "Subtask:", "\nAction: "

KINDS = {(True, True): "dual arm", (False, True): "single right arm", (True, False): "single left arm"}
"""What a robot with these arms (left, right) is called."""
HUMAN = "human"
TEMPLATE = (BEFORE, ASKED, SUBTASK, ACTIONS, *KINDS.values(), HUMAN)
"""What every prompt and answer is made of, for a vocabulary to be read off."""


@dataclass(frozen=True)
class Asked:
    """Questions: ``B`` of them, each with ``V`` pictures."""

    images: Tensor
    """(B, V, 3, H, W), 0..255: head, right wrist, left wrist."""
    categories: Sequence[str]
    instructions: Sequence[str]


@dataclass(frozen=True)
class Answers:
    """What the model shall say."""

    subtasks: Sequence[str]
    codes: Tensor
    """(B, 2, N): of the left and the right arm."""
    arms: Tensor
    """(B, 2) bool: which of them count."""


@dataclass(frozen=True)
class Inputs:
    """Questions, with or without answers, as Qwen3-VL reads them: ``L`` tokens, padded on the left."""

    ids: Tensor
    """(B, L)."""
    part: Tensor
    """(B, L): ``PAD``, ``PROMPT``, ``TEXT``, ``ACTION`` or ``END``."""
    seen: Tensor
    """(B, L) long: 1 where a token stands for a piece of a picture."""
    places: Tensor
    """(3, B, L): time, row and column; all three count on in text."""
    pixels: Tensor
    """(B * V * rows * columns, numbers); whole pictures (B * V, 3, H, W) for key points."""
    grid: Tensor
    """(B * V, 3): 1, rows and columns of patches."""
    answer: int
    """Tokens of the longest answer; all answers end with the last position."""
    task: Tensor
    """(B, L) bool: words of the instruction."""

    @property
    def labels(self) -> Tensor:
        """(B, L): the ids of the answers, and `IGNORED` elsewhere."""
        return torch.where(self.part >= TEXT, self.ids, IGNORED)

    @property
    def prompt(self) -> Tensor:
        """(B, L) bool."""
        return self.part == PROMPT

    @property
    def picture(self) -> Tensor:
        """(B, L): which picture of its prompt a token stands for a piece of, counted from 0; -1 for words."""
        begins = self.seen.diff(dim=1, prepend=self.seen.new_zeros(len(self.seen), 1)) == 1
        return torch.where(self.seen == 1, begins.cumsum(1) - 1, -1)

    @property
    def next_place(self) -> Tensor:
        """(B,): the place of the token that comes next."""
        return self.places.amax(dim=(0, 2)) + 1

    @property
    def model(self) -> dict[str, Tensor]:
        """Arguments of `Qwen3VLModel`."""
        return {
            "input_ids": self.ids,
            "attention_mask": (self.part != PAD).long(),
            "mm_token_type_ids": self.seen,
            "position_ids": self.places,
            "pixel_values": self.pixels,
            "image_grid_thw": self.grid,
        }

    def to(self, device: torch.device) -> Self:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


def encode(vocabulary: Vocabulary, pictures: Pictures, asked: Asked, answers: Answers | None = None) -> Inputs:
    """Questions, and answers where they are known, as the model reads them."""
    count, views = asked.images.shape[:2]
    pixels, rows, columns = pictures.shown(asked.images.flatten(0, 1))
    shape = (rows // pictures.unit, columns // pictures.unit)
    opening = _opening(vocabulary, views, shape)
    lines, tasks = [], []
    for number in range(count):
        before, after = ASKED.split("{instruction}")
        before, instruction = before.format(category=asked.categories[number]), asked.instructions[number]
        told, of_task = vocabulary.marked(before, instruction, after)
        tasks.append(of_task)
        line = _follow(opening, told, [PROMPT] * len(told))
        if answers is not None:
            line = _follow(line, *solution(vocabulary, answers, number))
        lines.append(line)
    longest = max(len(line.ids) for line in lines)
    device = asked.images.device
    ids, part, seen, places = (
        torch.from_numpy(np.stack(each)).to(device)
        for each in zip(*(_padded(line, longest, vocabulary.fill) for line in lines), strict=True)
    )
    answer = int((part >= TEXT).sum(1).max())
    task = torch.zeros_like(ids, dtype=torch.bool)
    for row, (line, of_task) in enumerate(zip(lines, tasks, strict=True)):
        first = longest - len(line.ids) + len(opening.ids)
        task[row, first : first + len(of_task)] = torch.tensor(of_task)
    grid = torch.tensor([[1, rows, columns]], device=device).expand(count * views, -1)
    return Inputs(ids, part, seen, places.transpose(0, 1), pixels, grid, answer, task)


def solution(vocabulary: Vocabulary, answers: Answers, number: int) -> tuple[list[int], list[int]]:
    """One answer's ids and what each of them is: subtask, then the right arm's codes before the left's.

    Its pieces are split into tokens one by one, so that writing it token by token is the same as reading it whole.
    """
    left, right = (bool(counts) for counts in answers.arms[number])
    arms = [arm for arm, counts in ((1, right), (0, left)) if counts]
    codes = [vocabulary.first + int(code) for arm in arms for code in answers.codes[number, arm]]
    if codes and not vocabulary.first <= min(codes) <= max(codes) < vocabulary.pad_action:
        raise ValueError(f"an action code is not in 0..{vocabulary.entries - 1}; label the film with this vocabulary")
    text = [
        *vocabulary.encode(SUBTASK),
        *vocabulary.encode(f" {said(answers.subtasks[number])}"),
        *vocabulary.encode(ACTIONS),
    ]
    closing = [vocabulary.end] if len(arms) == 2 else [vocabulary.pad_action, vocabulary.end]
    parts = [TEXT] * len(text) + [ACTION] * len(codes) + [END] * len(closing)
    return text + codes + closing, parts


def said(subtask: str) -> str:
    """A subtask on one line."""
    return " ".join(subtask.split())


def drop_wrists(images: Tensor, share: float, generator: torch.Generator | None = None) -> Tensor:
    """Pictures (B, V, 3, H, W) of which each wrist's is the head's instead with a probability of ``share``."""
    gone = torch.rand(images.shape[:2], generator=generator, device=images.device) < share
    gone[:, :1] = False
    return torch.where(gone[..., None, None, None], images[:, :1], images)


@dataclass(frozen=True)
class _Line:
    """One sample, not yet padded."""

    ids: list[int]
    part: list[int]
    seen: list[int]
    places: NDArray[np.int64]
    """(3, L)."""


def _opening(vocabulary: Vocabulary, views: int, shape: tuple[int, int]) -> _Line:
    """System message and pictures, which are the same tokens in every sample."""
    line = _Line([], [], [], np.zeros((3, 0), np.int64))
    start, end = (vocabulary.encode(token) for token in PICTURE)
    text = vocabulary.encode(BEFORE)
    for _ in range(views):
        line = _follow(line, text + start, [PROMPT] * len(text + start))
        line = _show(line, vocabulary.image, shape)
        text = end
    return _follow(line, text, [PROMPT] * len(text))


def _follow(line: _Line, ids: list[int], part: list[int]) -> _Line:
    """Text after a line."""
    places = _next(line) + np.arange(len(ids))
    return _Line(line.ids + ids, line.part + part, line.seen + [0] * len(ids), _joined(line, [places, places, places]))


def _show(line: _Line, image: int, shape: tuple[int, int]) -> _Line:
    """A picture after a line: its pieces share one time, and lie in rows and columns. Qwen2-VL, section 2.1."""
    down, across = (axis.ravel() for axis in np.indices(shape))
    first, many = _next(line), shape[0] * shape[1]
    places = [np.full(many, first), first + down, first + across]
    return _Line(line.ids + [image] * many, line.part + [PROMPT] * many, line.seen + [1] * many, _joined(line, places))


def _next(line: _Line) -> int:
    return int(line.places.max(initial=-1)) + 1


def _joined(line: _Line, places: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([line.places, np.stack(places)], axis=1)


def _padded(line: _Line, length: int, fill: int) -> tuple[NDArray[np.int64], ...]:
    """Ids, parts, what is seen, and places (3, L), with nothing before them."""
    gap = length - len(line.ids)
    rows = (
        np.pad(each, (gap, 0), constant_values=with_)
        for each, with_ in ((line.ids, fill), (line.part, PAD), (line.seen, 0))
    )
    return *(row.astype(np.int64) for row in rows), np.pad(line.places, ((0, 0), (gap, 0)))
