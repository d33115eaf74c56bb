"""What a night's candidate has forgotten, told without a robot: plans beside what was done in demonstrations."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

import learners
from appliance import shared
from appliance.doing import Doing
from appliance.home import Home
from appliance.night_asked import Asked, candidate, said
from appliance.night_steps import every, learned, once, set_aside
from learners import ChunkPolicy
from learners.examine import Examined, examine
from ops import axes
from ops.axes import ORIG
from ops.gates import Row, harmless
from ops.tells import tells
from storage import Catalog, Episode, Listed, Night, PolicyRow
from storage.reading import reading

MOST = 12
"""Episodes that a task's plans are compared on, at most."""

OUTSIDE = 6.0
"""So many times the usual spread above its usual error a champion's error on a demonstration is surprising."""


@once("gates")
def gates(home: Home, catalog: Catalog, row: Night, doing: Doing) -> dict[str, Any]:
    """Compare plans of candidate and champion on demonstrations that neither learned from; then on earlier tasks."""
    asked = said(row.settings)
    trained = catalog.policy(candidate(row.id))
    champion = None if row.champion is None else catalog.policy(row.champion)
    examiner = _Examiner(home, catalog, doing, trained, champion)
    own = _some(_believed(home, catalog, row, asked))
    board = examiner.board(asked.task, own, guarded=True)
    line = [one for one in (trained, champion) if one is not None]
    for task in dict.fromkeys([*_earlier(catalog, line), *(one for one in asked.keep if one != asked.task)]):
        board += examiner.board(task, _some(_best(catalog, task, asked)), guarded=task in asked.keep)
    surprising = examiner.surprising(asked.task, _new(catalog, row), own)
    rows = [asdict(one) | {"forgotten": one.forgotten} for one in board]
    return {"board": rows, "surprising": surprising} | asdict(
        harmless(board, asked.harm, () if champion is None else asked.keep)
    )


def _believed(home: Home, catalog: Catalog, row: Night, asked: Asked) -> list[Listed]:
    """The demonstrations that no night learns from, but for those that are not what was sealed, or what is said."""
    whole, instruction = {*row.facts["verify"]["sound"]}, catalog.task(asked.task).instruction
    aside = [one for one in every(catalog, asked.task) if set_aside(one.row, asked.aside) and str(one.row.id) in whole]
    shared.present(home, aside)
    with reading(home.folder, f"night {row.id} looks", {one.row.id for one in aside}):
        return [one for one in aside if not any(tells(Episode(home.folder / one.standing.path), instruction))]


class _Examiner:
    """Asks both policies the same questions."""

    def __init__(
        self, home: Home, catalog: Catalog, doing: Doing, trained: PolicyRow, champion: PolicyRow | None
    ) -> None:
        self._home, self._catalog, self._doing = home, catalog, doing
        self._rows = {"candidate": trained} | ({} if champion is None else {"champion": champion})
        shared.present(home, (), self._rows.values())
        self._loaded = {who: learners.load(home.folder / row.path) for who, row in self._rows.items()}

    def board(self, task: str, found: Sequence[Listed], *, guarded: bool) -> list[Row]:
        """A row for a task, and one for each part of it that has a name: what was varied, what was merged into it."""
        if not found:
            return [Row(task, 0, None, None, guarded)]
        try:
            answers = {who: self._examined(who, task, found) for who in self._rows}
        except learners.NoData as error:
            return [Row(task, 0, None, None, guarded, f"cannot be measured: {error}")]
        parts = _parts(task, found)
        return [self._row(what, found, index, answers, guarded) for what, index in parts.items()]

    def surprising(self, task: str, new: Sequence[Listed], usual: Sequence[Listed]) -> dict[str, str]:
        """New demonstrations that the champion would have done quite otherwise. An order may ask for just these."""
        if "champion" not in self._rows or not new or len(usual) < 3:
            return {}
        some = _some(new)
        known, found = (self._examined("champion", task, each).error for each in (usual, some))
        middle = float(np.nanmedian(known))
        spread = 1.4826 * float(np.nanmedian(np.abs(known - middle))) + 0.05 * middle
        far = {one.row.id: (error - middle) / spread for one, error in zip(some, found, strict=True)}
        return {
            str(key): f"the champion's error is {times:.0f} times its usual spread above its usual"
            for key, times in far.items()
            if times > OUTSIDE
        }

    def _row(
        self, what: str, found: Sequence[Listed], index: Sequence[int], answers: dict[str, Examined], guarded: bool
    ) -> Row:
        comparable = "champion" in answers and _alike(self._loaded["candidate"], self._loaded["champion"])
        some = {found[place].row.id for place in index}
        knew = [who for who, row in self._rows.items() if some & learned(self._catalog, row)]
        mean = {who: _mean(each.error[list(index)]) for who, each in answers.items()}
        seen = f"learned from by {' and '.join(f'the {who}' for who in knew)}" if knew else ""
        return Row(what, len(index), mean["champion"] if comparable else None, mean["candidate"], guarded, seen)

    def _examined(self, who: str, task: str, found: Sequence[Listed]) -> Examined:
        policy = self._loaded[who]
        self._doing.tell(f"examining the {who} on {task}", 0, len(found))
        instruction = self._catalog.task(task).instruction
        told = [axes.told(instruction, one.row.condition) for one in found]
        shared.present(self._home, found)
        with reading(self._home.folder, f"plans of {self._rows[who].name} are compared", {o.row.id for o in found}):
            shown = [Episode(self._home.folder / one.standing.path, one.keep) for one in found]
            return examine(policy, learners.windows(policy.how, shown, told))  # type: ignore[arg-type]  # a policy's settings are its learner


def _mean(errors: NDArray[np.float64]) -> float | None:
    """The mean of those that could be measured; None if there are none, or a plan is no number."""
    known = errors[~np.isnan(errors)]
    return float(known.mean()) if len(known) and np.isfinite(known).all() else None


def _parts(task: str, found: Sequence[Listed]) -> dict[str, list[int]]:
    """The whole, and every part of it that has a name, by which of the episodes belong to it."""
    parts: dict[str, list[int]] = {task: list(range(len(found)))}
    for place, one in enumerate(found):
        names = [f"{task}, {axis}" for axis in axes.varied(one.row.condition) if axis != ORIG]
        names += [f"{task}, as {one.standing.named}"] if one.standing.named != one.standing.task else []
        for name in names:
            parts.setdefault(name, []).append(place)
    return parts


def _alike(one: ChunkPolicy, other: ChunkPolicy) -> bool:
    """Whether two policies' errors are in the same unit: they plan the same numbers, as far ahead."""
    mine, theirs = one.how, other.how
    return one.body == other.body and (mine.view, mine.hz, mine.k) == (theirs.view, theirs.hz, theirs.k)


def _earlier(catalog: Catalog, line: Sequence[PolicyRow]) -> list[str]:
    """Other tasks that the policies were trained for which these descend from: what can have been forgotten."""
    tasks = [one.policy.task for row in line for one in catalog.lineage(row.id).line]
    return [task for task in dict.fromkeys(tasks) if task != line[0].task]


def _best(catalog: Catalog, task: str, asked: Asked) -> list[Listed]:
    """Of an earlier task the demonstrations that no night learns from; where there are none, all."""
    shown = every(catalog, task)
    return [one for one in shown if set_aside(one.row, asked.aside)] or shown


def _new(catalog: Catalog, row: Night) -> list[Listed]:
    """The new demonstrations that were learned from."""
    taught = {*row.facts["begin"]["new"]} & {*row.facts["snapshot"]["episodes"]}
    return [one for one in every(catalog, row.task) if str(one.row.id) in taught]


def _some(found: Sequence[Listed]) -> list[Listed]:
    """Evenly spread ones of them."""
    index = np.unique(np.linspace(0, len(found) - 1, min(MOST, len(found))).astype(int)) if found else []
    return [found[place] for place in index]
