"""Judge takes at ALOHA's table: a cube goes from the right arm to the left, or a peg into a socket.

Truth says where the objects are, and counts the stages of gym-aloha (0 to 4). A stage of ours (S1 to S5) is passed
by what the objects go through; the first event in the first stage that was never passed names the failure. ``SIZE``
is never given here, for every object has its size; nor is ``SEM-OBJ``, for there is no other object.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.bimanual import ON, asked, lasted, on_table
from ops.judging.judgement import Judgement, invalid
from ops.judging.scene import NS, Flags, Floats, Incomplete, Rows, Run, require_numbers, runs, shaking, together
from storage import Outcome

VERSION = "aloha-rules/1.1"
"""Which rules were used. A changed threshold or definition is a new version."""

FETCHES = {"transfer": {"cube": 1}, "insertion": {"socket": 0, "peg": 1}}
"""Which arm, 0 left or 1 right, fetches which object."""

MET = {"transfer": 4, "insertion": 3}
"""The stage that gym-aloha counts when both arms have brought together what is to be."""


@dataclass(frozen=True)
class Rules:
    """Where the lines are drawn. Metres, seconds, radians per second."""

    apart: float = 0.05
    """The arm that gave the cube away is done with it when its tool point is this far off."""
    lift: float = 0.02
    """An object this far above where it lay is lifted."""
    hold: float = 0.5
    """An object that stays lifted for this long is acquired; so long held low, it was not lifted."""
    stirred: float = 0.002
    """An object that moved this far was touched."""
    aimed: float = 0.15
    """Fingers that close this near to an object that they do not touch were meant for it and missed."""
    closed: float = 0.055
    """Fingers narrower than this are closing."""
    reopened: float = 0.065
    """Fingers wider than this can close again."""
    opened: float = 0.004
    """Fingers that widen by this while they lose an object let it go; otherwise it slipped."""
    flicker: float = 0.1
    """What is interrupted for no longer than this went on."""
    progress: float = 0.01
    """A tool that moves less than this in the last second has stopped."""
    shaking: float = 0.5
    """A joint whose velocity changes sign between at least this much either way turned round, ..."""
    turns: int = 8
    """... and one that turns round so often within one second oscillates."""
    gap: float = 0.25
    """How long truth or arms may be silent before the record is incomplete."""


RULES = Rules()


def fits(names: Sequence[str]) -> bool:
    """Whether these rules can read a truth with these fields."""
    return "stage" in names and any(things <= {*names} for things in ON.values())


def judge_rows(
    truth: Rows,
    arm: Rows,
    instruction: str,
    end: int | None = None,
    _sizes: Mapping[str, Sequence[float]] | None = None,
    rules: Rules = RULES,
) -> Judgement:
    """Judge a take from its rows of truth and of both arms; ``end`` is when its last tick was due, in nanoseconds.

    Raises:
        Unclear: the instruction does not ask for what can be done with what is there.
    """
    task = asked(instruction, truth.dtype.names or ())
    try:
        take = _take(truth, arm, end, task, rules)
    except Incomplete as incomplete:
        return invalid(str(incomplete), VERSION)
    return take.judgement()


def finished(streams: Mapping[str, Rows], instruction: str, rules: Rules = RULES) -> bool:
    """Tell a running loop that the task is done: the same rule that judges the record.

    Raises:
        Unclear: the instruction does not ask for what can be done with what is there.
    """
    truth, arm = streams["truth"], streams["arm"]
    task = asked(instruction, truth.dtype.names or ())
    if not len(truth) or not len(arm):
        return False
    things = {name: truth[name][:, :3] for name in FETCHES[task]}
    return done(task, truth["t"], truth["stage"], things, on_table(arm["tool"][-1:])[0], rules)


def done(
    task: str,
    t: NDArray[np.int64],
    stage: NDArray[np.int32],
    things: Mapping[str, Floats],
    tools: Floats,
    rules: Rules = RULES,
) -> bool:
    """Tell whether the last stage has lasted at the end, and the arm that gave a cube away has drawn back.

    Args:
        task: ``transfer`` or ``insertion``.
        t: stamps (n,) of truth.
        stage: as gym-aloha counts (n,).
        things: where each object was (n, 3).
        tools: where the arms' tool points are at the end (2, 3).
        rules: where the lines are drawn.
    """
    if not lasted(t, stage):
        return False
    return task != "transfer" or bool(np.linalg.norm(things["cube"][-1] - tools[1]) >= rules.apart)


@dataclass(frozen=True)
class _Event:
    """What cost success."""

    stage: str
    code: str
    row: int
    what: Mapping[str, Any]


@dataclass(frozen=True)
class _Take:
    """One take, on the time axis of truth: ``n`` moments."""

    task: str
    rules: Rules
    t: NDArray[np.int64]
    stage: NDArray[np.int32]
    things: Mapping[str, Floats]
    """Where each object was (n, 3)."""
    tools: Floats
    """Where the tool points of the left and of the right arm were (n, 2, 3), on the table."""
    width: Floats
    """How far the fingers of both were apart (n, 2)."""
    shaken: tuple[Run, ...]
    """When an arm oscillated."""

    def judgement(self) -> Judgement:
        """Follow the stages to the first that was not passed, and name the first event in it."""
        overcome = tuple(dict.fromkeys(f"recovered:{code}" for code in self._overcome()))
        if done(self.task, self.t, self.stage, self.things, self.tools[-1], self.rules):
            shaken = ("recovered:KIN",) if self.shaken else ()
            evidence = self._evidence("S5", self.last, {})
            return Judgement(Outcome.SUCCESS, None, None, (*overcome, *shaken), evidence, "S5")
        harm = self._hindered(next(self._harms()))
        evidence = self._evidence(harm.stage, harm.row, harm.what)
        others = overcome if harm.code == "KIN" or not self.shaken else (*overcome, "KIN")
        return Judgement(Outcome.FAILURE, harm.stage, harm.code, others, evidence, harm.stage)

    def _harms(self) -> Iterator[_Event]:
        """What went wrong, earliest stage first; the last is always there."""
        fetches = FETCHES[self.task]
        for name, arm in fetches.items():
            if self._touched(name) is None:
                yield self._missed(name, arm)
        for name, arm in fetches.items():
            if not self._acquired(name):
                yield self._ungrasped(name, arm)
        met = self._first(self.stage >= MET[self.task])
        for name, arm in fetches.items():
            if (row := self._lost(name)) is not None:
                yield self._dropped(name, arm, row, "S3" if met is None else "S4" if not self._delivered() else "S5")
        if met is None:
            yield self._apart()
        elif not self._delivered():
            stuck = self.task == "insertion" and not self._moves()
            yield _Event("S4", "PREC" if stuck else "TIME", self.last, {})
        yield _Event("S5", "TIME", self.last, {})

    def _missed(self, name: str, arm: int) -> _Event:
        """S1: an object that nobody touched. Was it aimed at, was somebody on the way, or was nothing tried?"""
        reach = self._reach(name, arm)
        what = {"object": name, "distance": round(float(reach.min()), 4)}
        for row in self._closings(arm):
            if reach[row] <= self.rules.aimed:
                return _Event("S1", "LOC", row, what | {"distance": round(float(reach[row]), 4)})
        closer = float(reach[self._ago(1.0)] - reach[-1])
        return _Event("S1", "TIME" if closer >= self.rules.progress else "SEM-IDLE", self.last, what)

    def _ungrasped(self, name: str, arm: int) -> _Event:
        """S2: an object that was touched and not acquired."""
        row = self._touched(name) or 0
        low = self._height(name) >= self.rules.stirred
        long = [run for run in self._runs(low) if self._length(run) >= self.rules.hold]
        what: dict[str, Any] = {"object": name, "lift": round(float(self._height(name).max()), 4)}
        if long and what["lift"] < self.rules.lift:
            return _Event("S2", "LIFT", long[0].first, what)
        in_hand = self._height(name)[-1] >= self.rules.stirred or self.width[-1, arm] > self.rules.closed
        under_way = in_hand and self._moves() and self._reach(name, arm)[-1] <= self.rules.apart
        return _Event("S2", "TIME" if under_way else "CON", self.last if under_way else row, what)

    def _dropped(self, name: str, arm: int, row: int, stage: str) -> _Event:
        """S3 to S5: an object fell. Hands that open before another has closed are out of step."""
        before, after = self._ago(0.2, row), self._ago(-0.2, row)
        opened = self.width[before : after + 1, arm].max() >= self.width[before, arm] + self.rules.opened
        code = "KIN" if opened and self.width[row, 1 - arm] > self.rules.closed else "DROP"
        return _Event(stage, code, row, {"object": name, "opened": bool(opened)})

    def _apart(self) -> _Event:
        """S3: everything is in hand, and did not come together. Did the other arm reach for it and miss?"""
        if self.task == "transfer":
            reach = self._reach("cube", 0)
            up = self._height("cube") >= self.rules.lift
            for row in self._closings(0):
                if up[row] and reach[row] <= self.rules.aimed:
                    return _Event("S3", "LOC", row, {"object": "cube", "distance": round(float(reach[row]), 4)})
        return _Event("S3", "TIME" if self._moves() else "SEM-IDLE", self.last, {})

    def _hindered(self, harm: _Event) -> _Event:
        """Blame an arm that shakes for no progress since the stage before, and for what is lost while it shakes."""
        since = self._begun(harm.stage) if harm.code in {"TIME", "SEM-IDLE"} else harm.row
        causes = [run for run in self.shaken if run.first <= harm.row and run.last >= since]
        if not causes or harm.code in {"KIN", "LOC"}:
            return harm
        return _Event(harm.stage, "KIN", causes[0].first, {**harm.what, "instead_of": harm.code})

    def _begun(self, stage: str) -> int:
        """The row at which the last of the stages before this one was passed."""
        touched = (self._touched(name) for name in self.things)
        acquired = (run.first for name in self.things for run in self._carried(name)[:1])
        met = self._first(self.stage >= MET[self.task])
        passed = {"S2": max((row or 0 for row in touched), default=0), "S3": max(acquired, default=0)}
        return passed.get(stage, 0 if stage == "S1" else met or 0)

    def _overcome(self) -> Iterator[str]:
        """Falls after which the object was picked up again."""
        for name in self.things:
            carried = self._carried(name)
            yield from ("DROP" for _ in carried[:-1])

    def _evidence(self, reached: str, row: int, what: Mapping[str, Any]) -> dict[str, Any]:
        closings = [self._closings(arm)[:1] for arm in (0, 1)]
        first = min((found[0] for found in closings if found), default=None)
        return {
            "rules": VERSION,
            "task": self.task,
            "reached": reached,
            "row": row,
            "seconds": self._seconds(row),
            "first_closing": None if first is None else self._seconds(first),
            "stage": int(self.stage.max()),
            "stage_at_end": int(self.stage[-1]),
            "highest": {name: round(float(self._height(name).max()), 4) for name in self.things},
            **what,
        }

    @cached_property
    def last(self) -> int:
        return len(self.t) - 1

    def _delivered(self) -> bool:
        """Whether the task was ever done, if only for a moment."""
        there = self.stage == 4
        if self.task == "transfer":
            there &= self._reach("cube", 1) >= self.rules.apart
        return bool(there.any())

    def _touched(self, name: str) -> int | None:
        """The first row at which an object was touched."""
        away = np.linalg.norm(self.things[name] - self.things[name][0], axis=1)
        return self._first((away >= self.rules.stirred) | (self.stage >= 1))

    def _carried(self, name: str) -> list[Run]:
        """When an object was lifted for long enough to count as acquired."""
        up = self._runs(self._height(name) >= self.rules.lift)
        return [run for run in up if self._length(run) >= self.rules.hold]

    def _acquired(self, name: str) -> bool:
        return bool(self._carried(name))

    def _lost(self, name: str) -> int | None:
        """The row at which an object that was acquired fell, to be lifted no more."""
        carried = self._carried(name)
        return carried[-1].last if carried and carried[-1].last < self.last else None

    def _height(self, name: str) -> Floats:
        return np.asarray(self.things[name][:, 2] - self.things[name][0, 2])

    def _reach(self, name: str, arm: int) -> Floats:
        return np.asarray(np.linalg.norm(self.things[name] - self.tools[:, arm], axis=1))

    def _closings(self, arm: int) -> list[int]:
        """The rows at which an arm's fingers began to close."""
        found, ready = [], False
        for row, width in enumerate(self.width[:, arm].tolist()):
            if width < self.rules.closed and ready:
                found.append(row)
            ready = width > self.rules.reopened or (ready and width >= self.rules.closed)
        return found

    def _moves(self) -> bool:
        """Whether an arm moved within the last second."""
        recent = self.tools[self._ago(1.0) :]
        return bool(np.linalg.norm(recent - recent[-1], axis=2).max() >= self.rules.progress)

    def _first(self, flags: Flags) -> int | None:
        return int(flags.argmax()) if flags.any() else None

    def _runs(self, flags: Flags) -> list[Run]:
        return runs(self.t, flags, self.rules.flicker)

    def _length(self, run: Run) -> float:
        return float(self.t[run.last] - self.t[run.first]) / NS

    def _seconds(self, row: int) -> float:
        return round(float(self.t[row] - self.t[0]) / NS, 3)

    def _ago(self, seconds: float, row: int | None = None) -> int:
        """The last row not later than some seconds before a row, or before the end; or after it, for less than 0."""
        then = self.t[self.last if row is None else row] - round(seconds * NS)
        return max(0, int(np.searchsorted(self.t, then, side="right")) - 1)


def _take(truth: Rows, arm: Rows, end: int | None, task: str, rules: Rules) -> _Take:
    truth, at = together(truth, arm, end, rules.gap)
    shaken = shaking(arm["t"], arm["dq"], rules.shaking, rules.turns)[at]
    things = {name: truth[name][:, :3] for name in FETCHES[task]}
    require_numbers("truth", np.stack([*things.values()], axis=1))
    require_numbers("arm", arm["tool"][at])
    return _Take(
        task=task,
        rules=rules,
        t=truth["t"],
        stage=truth["stage"],
        things=things,
        tools=on_table(arm["tool"][at]),
        width=arm["width"][at],
        shaken=tuple(runs(truth["t"], shaken, rules.gap)),
    )
