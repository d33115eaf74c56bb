"""Judge takes at a table with cubes and pads: which cube goes where is what the instruction says.

A stage is passed by what the instructed cube goes through; the first event in the first stage that was never passed
names the failure. An event in a stage that was passed later was overcome, and is kept as ``recovered:CODE``.

``SIZE`` is never given here, for a record does not say which sizes whoever drove has seen; the report by axis tells
how other sizes fare. ``SEM-SEQ`` is given for a step that was done twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.scripted import Unclear, asked
from ops.judging.judgement import STAGES, Judgement, invalid
from ops.judging.lines import RULES, VERSION, Rules
from ops.judging.reading import Hand
from ops.judging.scene import NS, Flags, Floats, Incomplete, Rows, Run, Scene, scene_of, shaking
from storage import Outcome


def fits(names: Sequence[str]) -> bool:
    """Whether these rules can read a truth with these fields."""
    return any(name.endswith("_pad") for name in names) and {"touched", "held", "collided"} <= {*names}


def judge_rows(
    truth: Rows,
    arm: Rows,
    instruction: str,
    end: int | None = None,
    sizes: Mapping[str, Sequence[float]] | None = None,
    rules: Rules = RULES,
) -> Judgement:
    """Judge a take from its rows of truth and arm.

    Args:
        truth: what stood where and touched what.
        arm: what the arm reported.
        instruction: as the robot was told.
        end: when its last tick was due, in nanoseconds.
        sizes: width, depth and height of every cube whose edge is not 40 mm, in metres.
        rules: where the lines are drawn, for cubes of 40 mm.

    Raises:
        Unclear: the instruction does not name one object that stands on the table, and then one pad.
    """
    try:
        scene = scene_of(truth, arm, end, rules.gap, lambda t, dq: shaking(t, dq, rules.shaking, rules.turns))
    except Incomplete as incomplete:
        return invalid(str(incomplete), VERSION)
    thing, goal = _to_pad(instruction, scene.names, tuple(scene.pads))
    right = scene.names.index(thing)
    if scene.off(0, right, goal) <= rules.tolerance:
        return invalid(f"{thing} already was on {goal} at the start", VERSION)
    size = (sizes or {}).get(thing)
    return _Story(scene, right, goal, rules if size is None else rules.of(size)).judgement()


def finished(streams: Mapping[str, Rows], instruction: str, rules: Rules = RULES) -> bool:
    """Tell a running loop that the instructed cube is where it should be: the same rule that judges the record.

    Raises:
        Unclear: the instruction does not name one object that stands on the table, and then one pad.
    """
    truth = streams["truth"]
    fields = truth.dtype.names or ()
    cubes = [name for name in fields if name.endswith("_cube")]
    thing, goal = _to_pad(instruction, cubes, [name for name in fields if name.endswith("_pad")])
    if not len(truth):
        return False
    touched = truth["touched"][:, cubes.index(thing)]
    return placed(truth["t"], truth[thing][:, :3], truth[goal][-1], touched, rules)


def placed(t: NDArray[np.int64], cube: Floats, pad: Floats, touched: Flags, rules: Rules = RULES) -> bool:
    """Tell whether a cube (n, 3) ends on the pad (3,): near its centre, resting, released and still."""
    first = int(np.searchsorted(t, t[-1] - round(rules.still * NS), side="right")) - 1
    if first < 0:
        return False
    cube, touched = cube[first:], touched[first:]
    return bool(
        (np.linalg.norm(cube[:, :2] - pad[:2], axis=1) <= rules.tolerance).all()
        and (np.abs(cube[:, 2] - rules.rest) <= rules.slack).all()
        and np.ptp(cube, axis=0).max() <= rules.motion
        and not touched.any()
    )


@dataclass(frozen=True)
class _Event:
    """Something that costs success unless its stage is passed later; without a code, the stage was passed here."""

    stage: str
    code: str | None
    row: int
    what: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Story:
    """One take, followed through its stages."""

    scene: Scene
    right: int
    """Which cube was asked for."""
    goal: str
    rules: Rules

    @cached_property
    def hand(self) -> Hand:
        return Hand(self.scene, self.right, self.rules)

    def judgement(self) -> Judgement:
        """Follow the stages to the first that was never passed, and name the first event in it."""
        scene, right = self.scene, self.right
        events = sorted([*self._approaches(), *self._grasps()], key=lambda event: event.row)
        passed = {event.stage: event.row for event in events if event.code is None}
        harms = [event for event in events if event.code is not None]
        marks = [
            f"recovered:{harm.code}"
            if any(s >= harm.stage and row > harm.row for s, row in passed.items())
            else harm.code
            for harm in harms
        ]
        shaken = ["KIN"] if self.hand.hindrances() else []
        if placed(scene.t, scene.cubes[:, right], scene.pads[self.goal], scene.touched[:, right], self.rules):
            overcome = [f"recovered:{code}" for code in (*(harm.code for harm in harms), *shaken)]
            evidence = self._evidence("S5", scene.last)
            return Judgement(Outcome.SUCCESS, None, None, tuple(dict.fromkeys(overcome)), evidence, "S5")
        furthest = max((STAGES.index(stage) for stage in passed), default=-1)
        stage = STAGES[min(furthest + 1, len(STAGES) - 1)]
        first = next((harm for harm in harms if harm.stage == stage), None) or self._unfinished(stage)
        blamed = self._hindered(first, since=max(passed.values(), default=0))
        evidence = self._evidence(blamed.stage, blamed.row) | blamed.what
        others = tuple(dict.fromkeys(str(mark) for mark in (*marks, *shaken) if mark != blamed.code))
        return Judgement(Outcome.FAILURE, blamed.stage, blamed.code, others, evidence, blamed.stage)

    def _approaches(self) -> Iterator[_Event]:
        """S1: what did the fingers go for, and did they meet it?"""
        for attempt in self.hand.attempts():
            what = {"distance": round(attempt.distance, 4), "attempted": self.scene.names[attempt.cube]}
            row = attempt.run.first
            if attempt.cube != self.right:
                yield _Event("S1", "SEM-OBJ", row, what)
            elif not attempt.touched:
                yield _Event("S1", "LOC", row, what)
            else:
                yield _Event("S1", None, row)
                grasped = any(self.hand.meets(attempt.run, grip) for grip in self.hand.grips)
                if not grasped and attempt.run.last < self.scene.last:
                    yield _Event("S2", "CON", row, what | {"moved": round(self.hand.shoved(attempt.run), 4)})

    def _grasps(self) -> Iterator[_Event]:
        """S2 to S5: what became of every grasp of the instructed cube."""
        delivered = False
        ends = [*(grip.first for grip in self.hand.grips[1:]), self.scene.last]
        for grip, end in zip(self.hand.grips, ends, strict=False):
            yield _Event("S1", None, grip.first)
            acquired = self.hand.aloft(grip) >= self.rules.hold
            if acquired and delivered:
                yield _Event("S5", "SEM-SEQ", grip.first)
            if acquired:
                yield _Event("S2", None, grip.first)
            if grip.last < self.scene.last:
                settled = self.hand.settled(grip.last, end)
                delivered |= self.scene.off(settled, self.right, self.goal) <= self.rules.tolerance
                yield from self._let_go(grip, settled, acquired)
            elif acquired and self.scene.off(grip.last, self.right, self.goal) <= self.rules.coarse:
                yield _Event("S3", None, grip.last)

    def _let_go(self, grip: Run, settled: int, acquired: bool) -> Iterator[_Event]:
        """Say where the cube went when a grasp ended."""
        scene, rules, right = self.scene, self.rules, self.right
        distance = scene.off(settled, right, self.goal)
        other, beside = self._other_pad(settled)
        opened, lift = self.hand.opened(grip), self.hand.lift(grip)
        put_down = opened and float(scene.cubes[grip.last, right, 2]) - rules.lies <= rules.low
        over_goal = scene.off(grip.last, right, self.goal) <= rules.coarse
        what = {"distance": round(distance, 4), "opened": opened, "lift": lift}
        if distance <= rules.tolerance:
            yield _Event("S4", None, settled)
        elif not acquired:
            low = lift < rules.lift and scene.length(grip) >= rules.hold
            yield _Event("S2", "LIFT" if low else "CON", grip.last, what)
        elif opened and beside <= rules.coarse and beside < distance:
            yield _Event("S3", None, grip.last)
            yield _Event("S4", "SEM-GOAL", grip.last, what | {"delivered_to": other})
        elif put_down or over_goal:
            yield _Event("S3", None, grip.last)
            yield _Event("S4", "PREC" if distance <= rules.coarse else "LOC", grip.last, what)
        else:
            yield _Event("S3", "DROP", grip.last, what)

    def _unfinished(self, stage: str) -> _Event:
        """Nothing went wrong in this stage; say why it was not passed."""
        scene, rules, end = self.scene, self.rules, self.scene.last
        moved = self.hand.moved()
        if stage == "S1":
            reach = scene.reach(self.right)
            closer = float(reach[scene.shift(end, -1.0)] - reach[end])
            under_way = closer >= rules.progress or (moved >= rules.progress and reach[end] <= rules.approach)
            return _Event(stage, "TIME" if under_way else "SEM-IDLE", end, {"distance": round(float(reach[end]), 4)})
        if stage == "S2" and self.hand.grips and self.hand.grips[-1].last == end:
            stuck = scene.length(self.hand.grips[-1]) >= rules.hold and moved < rules.progress
            return _Event(stage, "LIFT" if stuck else "TIME", end, {"lift": self.hand.lift(self.hand.grips[-1])})
        if stage == "S3":
            other, beside = self._other_pad(end)
            if beside <= rules.tolerance:
                return _Event("S4", "SEM-GOAL", end, {"distance": round(beside, 4), "delivered_to": other})
        if stage == "S5":
            return self._unplaced()
        return _Event(stage, "TIME", end)

    def _unplaced(self) -> _Event:
        """S5: the cube was delivered, but not left as it should be."""
        scene, rules, end = self.scene, self.rules, self.scene.last
        distance = scene.off(end, self.right, self.goal)
        height = abs(float(scene.cubes[end, self.right, 2]) - rules.rest)
        what = {"distance": round(distance, 4), "off_height": round(height, 4)}
        right_there = distance <= rules.tolerance and height <= rules.slack
        under_way = bool(scene.touched[end, self.right]) or right_there
        return _Event("S5", "TIME" if under_way else "PREC", end, what)

    def _hindered(self, harm: _Event, since: int) -> _Event:
        """Blame a collision or a shaking arm for what it explains: no progress, or a loss right after it."""
        causes: list[Run] = []
        if harm.code in {"SEM-IDLE", "TIME"}:
            causes = [run for run in self.hand.hindrances() if run.last >= since]
        if harm.code == "DROP":
            before = self.scene.shift(harm.row, -self.rules.pressed)
            causes = [run for run in self.hand.hits() if run.first <= harm.row and run.last >= before]
        if not causes:
            return harm
        return _Event(harm.stage, "KIN", causes[0].first, harm.what | {"instead_of": harm.code})

    def _evidence(self, reached: str, row: int) -> dict[str, Any]:
        scene, right = self.scene, self.right
        return {
            "rules": VERSION,
            "object": scene.names[right],
            "goal": self.goal,
            "reached": reached,
            "row": row,
            "seconds": round(scene.seconds(row), 3),
            "first_closing": round(scene.seconds(self.hand.closings[0]), 3) if self.hand.closings else None,
            "nearest": round(float(scene.reach(right).min()), 4),
            "highest": round(float(scene.cubes[:, right, 2].max()), 4),
            "to_goal": round(scene.off(scene.last, right, self.goal), 4),
        }

    def _other_pad(self, row: int) -> tuple[str | None, float]:
        """Return the nearest pad that was not asked for, and how far off it the cube is."""
        others = {pad: self.scene.off(row, self.right, pad) for pad in self.scene.pads if pad != self.goal}
        return min(others.items(), key=itemgetter(1)) if others else (None, np.inf)


def _to_pad(instruction: str, cubes: Sequence[str], pads: Sequence[str]) -> tuple[str, str]:
    thing, goal = asked(instruction, (*cubes, *pads))
    if goal not in pads:
        raise Unclear(f"{instruction!r} asks for {goal}; these rules judge deliveries to: {', '.join(pads)}")
    return thing, goal
