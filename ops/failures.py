"""Say how a take on the table ended and, if it failed, at which event success was lost.

A judgement is a pure function of recorded rows, so that it can be made again, by newer rules, from the same record.
Stages follow each other: S1 approach, S2 acquire, S3 transport, S4 deliver, S5 finish; S0 is the set-up. A stage is
passed by what the instructed cube goes through; the first event in the first stage that was never passed names the
failure. An event in a stage that was passed later was overcome, and is kept as ``recovered:CODE``.

``SIZE`` is never given here: every cube has the same size. ``SEM-SEQ`` is given for a step that was done twice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectors.scripted import Unclear, asked
from ops.scene import Flags, Floats, Incomplete, Rows, Run, Scene, runs, scene_of
from storage import Episode, Observation, Outcome

VERSION = "table-rules/1.0"
"""Which rules were used. A changed threshold or definition is a new version."""

STAGES = ("S1", "S2", "S3", "S4", "S5")

NS = 1_000_000_000


@dataclass(frozen=True)
class Rules:
    """Where the lines are drawn. Metres, seconds, radians per second."""

    tolerance: float = 0.05
    """A cube is on a pad when their centres are this near, horizontally."""
    coarse: float = 0.09
    """Further off than the tolerance but within this, the delivery was imprecise; beyond, it was off target."""
    rest: float = 0.02
    """Height of the centre of a cube that lies on the table."""
    slack: float = 0.01
    """How far from that height a resting cube may be."""
    still: float = 0.3
    """How long a delivered cube must have been untouched and unmoved."""
    motion: float = 0.002
    """A cube that moved less than this in that time was still."""
    near: float = 0.05
    """Fingers that close this near to a cube's centre tried to grasp it."""
    aimed: float = 0.15
    """Fingers that close on nothing, this near to the instructed cube, were meant for it and missed."""
    approach: float = 0.10
    """The tool has come to a cube when it is this near."""
    closed: float = 0.05
    """Fingers narrower than this are closing: 10 mm wider than a cube."""
    reopened: float = 0.06
    """Fingers wider than this can close again."""
    thin: float = 0.035
    """Fingers narrower than this have nothing between them, and push what they touch."""
    flicker: float = 0.1
    """Contact that is interrupted for no longer than this is one contact."""
    brush: float = 0.2
    """An open hand that touches a cube for less than this, without closing, passes it."""
    knock: float = 0.02
    """Unless it moves the instructed cube this far."""
    answer: float = 0.5
    """How long after the fingers close a contact still counts as theirs."""
    lift: float = 0.02
    """A cube this far above its rest is lifted."""
    hold: float = 0.5
    """A cube that stays lifted in the fingers for this long is acquired; so long held low, it was not lifted."""
    opened: float = 0.004
    """Fingers that widen by this while they lose a cube let it go; otherwise it slipped."""
    low: float = 0.03
    """A cube let go no higher than this above its rest was put down, not dropped."""
    progress: float = 0.01
    """A tool that moves less than this in the last second has stopped."""
    pressed: float = 0.3
    """A collision is a cause when it lasts this long, or happens this shortly before a loss."""
    shaking: float = 0.2
    """A joint whose velocity changes sign between at least this much either way turned round, ..."""
    turns: int = 8
    """... and one that turns round so often within one second oscillates."""
    gap: float = 0.25
    """How long truth or arm may be silent before the record is incomplete."""


RULES = Rules()


@dataclass(frozen=True)
class Judgement:
    """How a take ended, as far as rows can tell."""

    outcome: Outcome
    stage: str | None
    """Where it failed; None after a success."""
    code: str | None
    """The failure mode; None after a success."""
    secondary: tuple[str, ...]
    """Other failure modes that were seen; ``recovered:CODE`` for those that were overcome."""
    evidence: dict[str, Any]
    """Plain values: rules, object, goal, row and seconds of the event, distances in metres."""
    reached: str
    """The furthest stage that was entered; ``S0`` when the trial is invalid."""


@dataclass(frozen=True)
class _Event:
    """Something that costs success unless its stage is passed later; without a code, the stage was passed here."""

    stage: str
    code: str | None
    row: int
    what: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Attempt:
    """The fingers went for a cube."""

    run: Run
    cube: int
    touched: bool
    distance: float


def judge(episode: Episode, instruction: str, rules: Rules = RULES) -> Judgement:
    """Judge a recorded take.

    Args:
        episode: has the streams ``truth`` and ``arm``; ``ticks`` tell when the loop ended, ``ended_by`` how.
        instruction: as the robot was told, e.g. "put the red cube on the yellow pad".
        rules: where the lines are drawn.

    Raises:
        Unclear: the instruction does not name one object that stands on the table, and then one pad.
    """
    if episode.attributes.get("ended_by") == "fault":
        return _invalid("the loop ended in a fault: a device, the recorder or the controller failed")
    if missing := [stream for stream in ("truth", "arm") if stream not in episode.streams]:
        return _invalid(f"there is no stream {missing[0]!r}; the episode has {', '.join(episode.streams) or 'none'}")
    ticks = episode["ticks", "t"][-1:].tolist() if "ticks" in episode.streams else []
    return judge_rows(episode.rows("truth"), episode.rows("arm"), instruction, max(ticks, default=None), rules)


def judge_rows(truth: Rows, arm: Rows, instruction: str, end: int | None = None, rules: Rules = RULES) -> Judgement:
    """Judge a take from its rows of truth and arm; ``end`` is when its last tick was due, in nanoseconds.

    Raises:
        Unclear: the instruction does not name one object that stands on the table, and then one pad.
    """
    try:
        scene = scene_of(truth, arm, end, rules.gap, lambda t, dq: _shaking(t, dq, rules))
    except Incomplete as incomplete:
        return _invalid(str(incomplete))
    thing, goal = _to_pad(instruction, scene.names, tuple(scene.pads))
    right = scene.names.index(thing)
    if scene.off(0, right, goal) <= rules.tolerance:
        return _invalid(f"{thing} already was on {goal} at the start")
    return _Story(scene, right, goal, rules).judgement()


def finished(seen: Observation, instruction: str, rules: Rules = RULES) -> bool:
    """Tell a running loop that the instructed cube is where it should be: the same rule that judges the record.

    Raises:
        LookupError: the cell has no ground truth, so nobody can know.
        Unclear: the instruction does not name one object that stands on the table, and then one pad.
    """
    if "truth" not in seen.streams:
        raise LookupError(f"success cannot be seen without the stream 'truth'; this cell has {sorted(seen.streams)}")
    truth = seen.streams["truth"]
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
class _Story:
    """One take, read for the instructed cube."""

    scene: Scene
    right: int
    """Which cube was asked for."""
    goal: str
    rules: Rules

    @cached_property
    def closings(self) -> list[int]:
        """The rows at which the fingers began to close."""
        narrow, wide = self.scene.width < self.rules.closed, self.scene.width > self.rules.reopened
        found, ready = [], False
        for row in range(len(narrow)):
            if narrow[row] and ready:
                found.append(row)
            ready = bool(wide[row]) or (ready and not narrow[row])
        return found

    @cached_property
    def hands(self) -> list[Run]:
        """When the instructed cube was between both fingers; closed fingers that press on it do not hold it."""
        between = self.scene.held[:, self.right] & (self.scene.width >= self.rules.thin)
        return self.scene.runs(between, self.rules.flicker)

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
        shaken = ["KIN"] if self._hindrances() else []
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
        for attempt in self._attempts():
            what = {"distance": round(attempt.distance, 4), "attempted": self.scene.names[attempt.cube]}
            row = attempt.run.first
            if attempt.cube != self.right:
                yield _Event("S1", "SEM-OBJ", row, what)
            elif not attempt.touched:
                yield _Event("S1", "LOC", row, what)
            else:
                yield _Event("S1", None, row)
                grasped = any(self._meets(attempt.run, hand) for hand in self.hands)
                if not grasped and attempt.run.last < self.scene.last:
                    yield _Event("S2", "CON", row, what | {"moved": round(self._shoved(attempt.run), 4)})

    def _grasps(self) -> Iterator[_Event]:
        """S2 to S5: what became of every grasp of the instructed cube."""
        delivered = False
        ends = [*(hand.first for hand in self.hands[1:]), self.scene.last]
        for hand, end in zip(self.hands, ends, strict=False):
            yield _Event("S1", None, hand.first)
            acquired = self._aloft(hand) >= self.rules.hold
            if acquired and delivered:
                yield _Event("S5", "SEM-SEQ", hand.first)
            if acquired:
                yield _Event("S2", None, hand.first)
            if hand.last < self.scene.last:
                settled = self._settled(hand.last, end)
                delivered |= self.scene.off(settled, self.right, self.goal) <= self.rules.tolerance
                yield from self._let_go(hand, settled, acquired)
            elif acquired and self.scene.off(hand.last, self.right, self.goal) <= self.rules.coarse:
                yield _Event("S3", None, hand.last)

    def _let_go(self, hand: Run, settled: int, acquired: bool) -> Iterator[_Event]:
        """Say where the cube went when a grasp ended."""
        scene, rules, right = self.scene, self.rules, self.right
        distance = scene.off(settled, right, self.goal)
        other, beside = self._other_pad(settled)
        opened, lift = self._opened(hand), self._lift(hand)
        put_down = opened and float(scene.cubes[hand.last, right, 2]) - rules.rest <= rules.low
        over_goal = scene.off(hand.last, right, self.goal) <= rules.coarse
        what = {"distance": round(distance, 4), "opened": opened, "lift": lift}
        if distance <= rules.tolerance:
            yield _Event("S4", None, settled)
        elif not acquired:
            low = lift < rules.lift and scene.length(hand) >= rules.hold
            yield _Event("S2", "LIFT" if low else "CON", hand.last, what)
        elif opened and beside <= rules.coarse and beside < distance:
            yield _Event("S3", None, hand.last)
            yield _Event("S4", "SEM-GOAL", hand.last, what | {"delivered_to": other})
        elif put_down or over_goal:
            yield _Event("S3", None, hand.last)
            yield _Event("S4", "PREC" if distance <= rules.coarse else "LOC", hand.last, what)
        else:
            yield _Event("S3", "DROP", hand.last, what)

    def _unfinished(self, stage: str) -> _Event:
        """Nothing went wrong in this stage; say why it was not passed."""
        scene, rules, end = self.scene, self.rules, self.scene.last
        moved = self._moved()
        if stage == "S1":
            reach = scene.reach(self.right)
            closer = float(reach[scene.shift(end, -1.0)] - reach[end])
            under_way = closer >= rules.progress or (moved >= rules.progress and reach[end] <= rules.approach)
            return _Event(stage, "TIME" if under_way else "SEM-IDLE", end, {"distance": round(float(reach[end]), 4)})
        if stage == "S2" and self.hands and self.hands[-1].last == end:
            stuck = scene.length(self.hands[-1]) >= rules.hold and moved < rules.progress
            return _Event(stage, "LIFT" if stuck else "TIME", end, {"lift": self._lift(self.hands[-1])})
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
            causes = [run for run in self._hindrances() if run.last >= since]
        if harm.code == "DROP":
            before = self.scene.shift(harm.row, -self.rules.pressed)
            causes = [run for run in self._hits() if run.first <= harm.row and run.last >= before]
        if not causes:
            return harm
        return _Event(harm.stage, "KIN", causes[0].first, harm.what | {"instead_of": harm.code})

    def _hindrances(self) -> list[Run]:
        """When the arm oscillated, or hit something for long, in order."""
        long = [hit for hit in self._hits() if self.scene.length(hit) >= self.rules.pressed]
        return sorted([*long, *self.scene.shaken], key=lambda run: run.first)

    def _hits(self) -> list[Run]:
        return self.scene.runs(self.scene.collided, self.rules.flicker)

    def _attempts(self) -> list[_Attempt]:
        """Every time the fingers went for a cube, in order."""
        scene, rules = self.scene, self.rules
        touches = [
            (run, cube) for cube in range(len(scene.names)) for run in scene.runs(scene.touched[:, cube], rules.flicker)
        ]
        meant = [(run, cube) for run, cube in touches if self._meant(run, cube)]
        found = [_Attempt(run, cube, True, float(scene.reach(cube)[run.first])) for run, cube in meant]
        found += [miss for row in self.closings if (miss := self._miss(row)) is not None]
        if not found:
            found = [
                _Attempt(run, cube, True, float(scene.reach(cube)[run.first]))
                for run, cube in touches
                if cube == self.right
            ]
        return sorted(found, key=lambda attempt: attempt.run.first)

    def _meant(self, touch: Run, cube: int) -> bool:
        """A touch is an attempt when the fingers close over it, stay, or knock the instructed cube away."""
        scene, rules = self.scene, self.rules
        carrying = np.delete(scene.held[touch.first], cube).any()
        if carrying or scene.width[touch.first] < rules.thin:
            return False
        begun = scene.shift(touch.first, -rules.brush)
        return bool(
            any(begun <= row <= touch.last for row in self.closings)
            or scene.held[touch.first : touch.last + 1, cube].any()
            or scene.length(touch) >= rules.brush
            or (cube == self.right and self._shoved(touch) >= rules.knock)
        )

    def _miss(self, row: int) -> _Attempt | None:
        """Fingers that closed on nothing: beside which cube? None when time ran out over it, or beside none."""
        scene, rules = self.scene, self.rules
        begun, answered = scene.shift(row, -rules.brush), scene.shift(row, rules.answer)
        if scene.seconds(scene.last) - scene.seconds(row) < rules.answer or scene.touched[begun : answered + 1].any():
            return None
        reach = np.array([scene.reach(cube)[row] for cube in range(len(scene.names))])
        nearest = int(reach.argmin())
        if reach[nearest] <= rules.near:
            return _Attempt(Run(row, answered), nearest, False, float(reach[nearest]))
        if reach[self.right] <= rules.aimed:
            return _Attempt(Run(row, answered), self.right, False, float(reach[self.right]))
        return None

    def _evidence(self, reached: str, row: int) -> dict[str, Any]:
        scene, right = self.scene, self.right
        return {
            "rules": VERSION,
            "object": scene.names[right],
            "goal": self.goal,
            "reached": reached,
            "row": row,
            "seconds": round(scene.seconds(row), 3),
            "first_closing": round(scene.seconds(self.closings[0]), 3) if self.closings else None,
            "nearest": round(float(scene.reach(right).min()), 4),
            "highest": round(float(scene.cubes[:, right, 2].max()), 4),
            "to_goal": round(scene.off(scene.last, right, self.goal), 4),
        }

    def _meets(self, touch: Run, hand: Run) -> bool:
        return touch.first <= hand.first <= self.scene.shift(touch.last, self.rules.brush)

    def _shoved(self, touch: Run) -> float:
        """Return how far the instructed cube moved horizontally from just before a touch until shortly after it."""
        where = self.scene.cubes[:, self.right, :2]
        after = self.scene.shift(touch.last, self.rules.answer)
        return float(np.linalg.norm(where[after] - where[max(0, touch.first - 1)]))

    def _lift(self, hand: Run) -> float:
        highest = self.scene.cubes[hand.first : hand.last + 1, self.right, 2].max()
        return round(float(highest) - self.rules.rest, 4)

    def _aloft(self, hand: Run) -> float:
        """Return the longest time, in seconds, for which the cube stayed lifted in the fingers."""
        rows = slice(hand.first, hand.last + 1)
        high = self.scene.cubes[rows, self.right, 2] - self.rules.rest >= self.rules.lift
        times = self.scene.t[rows]
        return max((float(times[run.last] - times[run.first]) / NS for run in runs(times, high)), default=0.0)

    def _opened(self, hand: Run) -> bool:
        """Fingers that let go widen; fingers that lose a cube close."""
        scene, rules = self.scene, self.rules
        gripped = float(np.median(scene.width[hand.first : hand.last + 1]))
        after = slice(hand.last, scene.shift(hand.last, rules.brush) + 1)
        return bool(scene.width[after].max() >= gripped + rules.opened)

    def _settled(self, row: int, later: int) -> int:
        """Return the first row from ``row`` to ``later`` at which the cube is untouched and at rest."""
        scene, right = self.scene, self.right
        for now in range(row, later + 1):
            soon = scene.shift(now, self.rules.flicker)
            if soon > later:
                break
            moved = np.ptp(scene.cubes[now : soon + 1, right], axis=0).max()
            if soon > now and moved <= self.rules.motion and not scene.touched[now : soon + 1, right].any():
                return now
        return later

    def _other_pad(self, row: int) -> tuple[str | None, float]:
        """Return the nearest pad that was not asked for, and how far off it the cube is."""
        others = {pad: self.scene.off(row, self.right, pad) for pad in self.scene.pads if pad != self.goal}
        return min(others.items(), key=itemgetter(1)) if others else (None, np.inf)

    def _moved(self) -> float:
        """Return how far the tool went within the last second."""
        tool = self.scene.tool[self.scene.shift(self.scene.last, -1.0) :]
        return float(np.linalg.norm(tool - tool[-1], axis=1).max())


def _to_pad(instruction: str, cubes: Sequence[str], pads: Sequence[str]) -> tuple[str, str]:
    thing, goal = asked(instruction, (*cubes, *pads))
    if goal not in pads:
        raise Unclear(f"{instruction!r} asks for {goal}; these rules judge deliveries to: {', '.join(pads)}")
    return thing, goal


def _invalid(why: str) -> Judgement:
    return Judgement(Outcome.INVALID, "S0", "ENV", (), {"rules": VERSION, "reached": "S0", "why": why}, "S0")


def _shaking(t: NDArray[np.int64], dq: Floats, rules: Rules) -> Flags:
    """Tell at each stamp whether, within the second before, some joint (m, 7) turned round too often."""
    shaking = np.zeros(len(t), np.bool_)
    for speed in dq.T:
        fast = np.flatnonzero(np.abs(speed) >= rules.shaking)
        turned = t[fast[1:][np.diff(np.sign(speed[fast])) != 0]]
        turns = np.searchsorted(turned, t, side="right") - np.searchsorted(turned, t - NS, side="right")
        shaking |= turns >= rules.turns
    return shaking


def clap3(code: str, stage: str) -> str:
    """CLAP Table III: what did the attempt, the pick or the place fail at? ``excluded`` is no trial at all."""
    if code == "ENV":
        return "excluded"
    if code in {"SEM-OBJ", "SEM-IDLE"}:
        return "attempt"
    if code in {"SEM-GOAL", "DROP", "PREC"}:
        return "place"
    if code in {"CON", "LIFT", "SIZE"}:
        return "pick"
    if code in {"SEM-SEQ", "LOC", "KIN", "TIME"}:
        early = "attempt" if code == "SEM-SEQ" else "pick"
        return {"S1": early, "S2": early, "S3": "place", "S4": "place", "S5": "place"}.get(stage, "other")
    return "other"


def clap10(code: str, secondary: Sequence[str] = ()) -> str:
    """CLAP Figure 10: semantic or dexterous. A time-out is what its first secondary label that stood is."""
    if code == "ENV":
        return "excluded"
    if code.startswith("SEM-"):
        return "semantic"
    if code == "TIME":
        return next((clap10(label) for label in secondary if not label.startswith("recovered:")), "other")
    return "dexterous" if code in {"LOC", "CON", "LIFT", "DROP", "SIZE", "KIN", "PREC"} else "other"


def ccol6(code: str) -> str:
    """CCoL Figure 6: localisation, contact, kinematic or size; ``other`` for what the figure does not have."""
    if code == "ENV":
        return "excluded"
    places = {"LOC": "localisation", "PREC": "localisation", "KIN": "kinematic", "SIZE": "size"}
    return places.get(code, "contact" if code in {"CON", "LIFT", "DROP"} else "other")
