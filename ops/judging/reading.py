"""What the hand did with the cubes: what it went for, what it gripped, how it let go."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ops.judging.lines import Rules
from ops.judging.scene import NS, Run, Scene, runs


@dataclass(frozen=True)
class Attempt:
    """The fingers went for a cube."""

    run: Run
    cube: int
    touched: bool
    distance: float


@dataclass(frozen=True)
class Hand:
    """One take, read for the instructed cube."""

    scene: Scene
    right: int
    """Which cube was asked for."""
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
    def grips(self) -> list[Run]:
        """When the instructed cube was between both fingers; closed fingers that press on it do not hold it."""
        between = self.scene.held[:, self.right] & (self.scene.width >= self.rules.thin)
        return self.scene.runs(between, self.rules.flicker)

    def attempts(self) -> list[Attempt]:
        """Every time the fingers went for a cube, in order."""
        scene, rules = self.scene, self.rules
        touches = [
            (run, cube) for cube in range(len(scene.names)) for run in scene.runs(scene.touched[:, cube], rules.flicker)
        ]
        meant = [(run, cube) for run, cube in touches if self._meant(run, cube)]
        found = [Attempt(run, cube, True, float(scene.reach(cube)[run.first])) for run, cube in meant]
        found += [miss for row in self.closings if (miss := self._miss(row)) is not None]
        if not found:
            found = [
                Attempt(run, cube, True, float(scene.reach(cube)[run.first]))
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
            or (cube == self.right and self.shoved(touch) >= rules.knock)
        )

    def _miss(self, row: int) -> Attempt | None:
        """Fingers that closed on nothing: beside which cube? None when time ran out over it, or beside none."""
        scene, rules = self.scene, self.rules
        begun, answered = scene.shift(row, -rules.brush), scene.shift(row, rules.answer)
        if scene.seconds(scene.last) - scene.seconds(row) < rules.answer or scene.touched[begun : answered + 1].any():
            return None
        reach = np.array([scene.reach(cube)[row] for cube in range(len(scene.names))])
        nearest = int(reach.argmin())
        if reach[nearest] <= rules.near:
            return Attempt(Run(row, answered), nearest, False, float(reach[nearest]))
        if reach[self.right] <= rules.aimed:
            return Attempt(Run(row, answered), self.right, False, float(reach[self.right]))
        return None

    def meets(self, touch: Run, grip: Run) -> bool:
        return touch.first <= grip.first <= self.scene.shift(touch.last, self.rules.brush)

    def hindrances(self) -> list[Run]:
        """When the arm oscillated, or hit something for long, in order."""
        long = [hit for hit in self.hits() if self.scene.length(hit) >= self.rules.pressed]
        return sorted([*long, *self.scene.shaken], key=lambda run: run.first)

    def hits(self) -> list[Run]:
        return self.scene.runs(self.scene.collided, self.rules.flicker)

    def shoved(self, touch: Run) -> float:
        """Return how far the instructed cube moved horizontally from just before a touch until shortly after it."""
        where = self.scene.cubes[:, self.right, :2]
        after = self.scene.shift(touch.last, self.rules.answer)
        return float(np.linalg.norm(where[after] - where[max(0, touch.first - 1)]))

    def lift(self, grip: Run) -> float:
        highest = self.scene.cubes[grip.first : grip.last + 1, self.right, 2].max()
        return round(float(highest) - self.rules.lies, 4)

    def aloft(self, grip: Run) -> float:
        """Return the longest time, in seconds, for which the cube stayed lifted in the fingers."""
        rows = slice(grip.first, grip.last + 1)
        high = self.scene.cubes[rows, self.right, 2] - self.rules.lies >= self.rules.lift
        times = self.scene.t[rows]
        return max((float(times[run.last] - times[run.first]) / NS for run in runs(times, high)), default=0.0)

    def opened(self, grip: Run) -> bool:
        """Fingers that let go widen; fingers that lose a cube close."""
        scene, rules = self.scene, self.rules
        gripped = float(np.median(scene.width[grip.first : grip.last + 1]))
        after = slice(grip.last, scene.shift(grip.last, rules.brush) + 1)
        return bool(scene.width[after].max() >= gripped + rules.opened)

    def settled(self, row: int, later: int) -> int:
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

    def moved(self) -> float:
        """Return how far the tool went within the last second."""
        tool = self.scene.tool[self.scene.shift(self.scene.last, -1.0) :]
        return float(np.linalg.norm(tool - tool[-1], axis=1).max())
