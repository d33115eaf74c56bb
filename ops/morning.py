"""The morning page: what a night did, what it decided, and which gate stopped it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.by_axis import VALID
from ops.report import Picture, picture, strips, written
from ops.results import PolicyReport, of_batch
from storage import Catalog, Night, Outcome, WorkOrder

if TYPE_CHECKING:
    from ops.plots import Ink

STEPS = {
    "begin": "what is new",
    "verify": "what is on the disk",
    "grade": "whether it shows what is said of it",
    "snapshot": "what is learned from",
    "train": "training",
    "proof": "proof of what was loaded",
    "gates": "plans on demonstrations nobody learned from",
    "plan": "trials planned",
    "decide": "trials",
    "promote": "promotion",
    "orders": "work orders",
}
"""What each step is about, in their order."""

LAST = 7
"""Nights before it that a page tells of."""

WORDS = {
    "promoted": "The candidate is the champion now.",
    "kept": "The champion stays.",
    "refused": "Nothing was changed: a gate said no.",
    "failed": "Nothing was changed: a step failed.",
    "": "The night is not over.",
}


@dataclass(frozen=True)
class Step:
    """What one step said."""

    name: str
    about: str
    passed: bool | None
    """None of a step that is no gate."""
    why: str


@dataclass(frozen=True)
class Morning:
    """All that is known of a night."""

    night: str
    task: str
    instruction: str
    station: str
    by: str
    began: datetime
    ended: datetime | None
    decision: str
    gate: str
    """The step that decided."""
    why: str
    champion: str | None
    """When the night began."""
    candidate: str | None
    reigns: str | None
    """The champion now."""
    steps: tuple[Step, ...]
    board: tuple[dict[str, Any], ...]
    """The "do no harm" board: see `ops.gates.Row`."""
    doubted: Mapping[str, str]
    """New demonstrations that were left out, and why: they should be looked at, and quarantined or judged anew."""
    surprising: Mapping[str, str]
    tried: tuple[PolicyReport, ...]
    orders: tuple[WorkOrder, ...]
    trouble: tuple[str, ...]
    before: tuple[tuple[str, str, str], ...] = ()
    """The nights of this task before it, newest first: name, decision and why."""

    @property
    def says(self) -> str:
        """The night in a sentence."""
        nobody = self.decision == "kept" and self.champion is None
        return "There is still no champion: the candidate never succeeded." if nobody else WORDS[self.decision]


def of(catalog: Catalog, night: str) -> Morning:
    """Read what is known of a night.

    Raises:
        Unknown: there is no such night.
    """
    row = catalog.night(night)
    facts = row.facts
    end = facts.get("end", {})
    reigning = catalog.champion(row.task)
    names = [None if key is None else catalog.policy(key).name for key in (row.champion, row.candidate)]
    placed = [catalog.work_order(one["id"]) for one in facts.get("orders", {}).get("placed", [])]
    return Morning(
        night=row.id,
        task=row.task,
        instruction=catalog.task(row.task).instruction,
        station=row.station,
        by=row.by,
        began=row.began,
        ended=row.ended,
        decision=row.decision,
        gate=str(end.get("gate", "")).removeprefix("night."),
        why=str(end.get("why", "")),
        champion=names[0],
        candidate=names[1],
        reigns=None if reigning is None else reigning.name,
        steps=tuple(_steps(row)),
        board=tuple(facts.get("gates", {}).get("board", [])),
        doubted=facts.get("verify", {}).get("wrong", {}) | facts.get("grade", {}).get("doubted", {}),
        surprising=facts.get("gates", {}).get("surprising", {}),
        tried=tuple(of_batch(catalog, row.batch)) if row.batch else (),
        orders=tuple(placed),
        trouble=tuple(end.get("trouble", [])),
        before=tuple(_before(catalog, row)),
    )


def _before(catalog: Catalog, row: Night) -> Iterator[tuple[str, str, str]]:
    """What became of the last nights of this task."""
    earlier = [one for one in catalog.nights(row.task) if one.began < row.began]
    for one in earlier[: -LAST - 1 : -1]:
        yield one.id, one.decision or "under way", one.why.removeprefix("night.")


def _steps(row: Night) -> Iterator[Step]:
    """What each step that was done has said."""
    for name, about in STEPS.items():
        if name in row.facts:
            yield Step(name, about, row.facts[name].get("passed"), str(row.facts[name].get("why", "")))


def folder(root: Path, night: str) -> Path:
    """Where the page of a night is, in a data folder."""
    return root / "reports" / "nights" / night


def as_json(morning: Morning) -> dict[str, Any]:
    """Return it as one plain object, ready for ``json.dumps``."""
    return {
        "night": morning.night,
        "task": morning.task,
        "station": morning.station,
        "by": morning.by,
        "began": morning.began.isoformat(),
        "ended": None if morning.ended is None else morning.ended.isoformat(),
        "decision": morning.decision,
        "gate": morning.gate,
        "why": morning.why,
        "champion": morning.champion,
        "candidate": morning.candidate,
        "reigns": morning.reigns,
        "steps": [{"name": one.name, "passed": one.passed, "why": one.why} for one in morning.steps],
        "board": list(morning.board),
        "doubted": dict(morning.doubted),
        "surprising": dict(morning.surprising),
        "tried": [{"policy": one.name, "says": one.says, "failures": one.failures} for one in morning.tried],
        "orders": [{"id": one.id, "wanted": one.wanted, "why": one.why} for one in morning.orders],
        "trouble": list(morning.trouble),
    }


def tables(morning: Morning) -> RenderableType:
    """Return the page for a console."""
    steps = Table("", "step", "what it said", box=SIMPLE_HEAD)
    for one in morning.steps:
        steps.add_row(_mark(one), one.about, one.why)
    parts: list[RenderableType] = [
        Text(f"Night {morning.night}, {morning.task} at {morning.station}: {morning.says}", style="bold"),
        Text(f"{morning.gate or 'begin'}: {morning.why}" if morning.why else ""),
        steps,
    ]
    if morning.tried:
        tried = Table("policy", "success", "failures", box=SIMPLE_HEAD)
        for report in morning.tried:
            ways = ", ".join(f"{code} {n}" for code, n in report.failures.items()) or "none"
            tried.add_row(f"{report.name} ({_role(morning, report.name)})", report.says, ways)
        parts.append(tried)
    if morning.board:
        board = Table("do no harm", "episodes", "champion", "candidate", "change", box=SIMPLE_HEAD)
        for row in morning.board:
            board.add_row(row["what"], str(row["episodes"]), *_errors(row))
        parts.append(board)
    for key, why in {**morning.doubted, **morning.surprising}.items():
        parts.append(Text(f"look at {key[:8]}: {why}", style="yellow"))
    parts.extend(Text(f"order {order.id}: {order.wanted} demonstrations, {order.why}") for order in morning.orders)
    parts += [Text(f"trouble: {one}", style="red") for one in morning.trouble]
    return Group(*parts)


def write_page(morning: Morning, where: Path, store_root: Path) -> Path:
    """Write ``morning.html`` and its pictures; the page has copies of them inside, so that it can be sent alone.

    Args:
        morning: what to show.
        where: where to; it is made if need be.
        store_root: the data folder, for frames of the recorded trials.

    Returns:
        The page.
    """
    where.mkdir(parents=True, exist_ok=True)
    return written(
        where / "morning.html",
        "morning.html.j2",
        morning=morning,
        mark=_mark,
        errors=_errors,
        role=lambda name: _role(morning, name),
        plots=list(_plots(morning, where)),
        strips={one.name: list(strips(one, place, where, store_root)) for place, one in enumerate(morning.tried, 1)},
    )


def _plots(morning: Morning, where: Path) -> Iterator[Picture]:
    """Draw what can be compared."""
    from ops import plots  # matplotlib takes long to import

    tried = morning.tried
    if tried:
        names = [f"{one.name}\n{_role(morning, one.name)}" for one in tried]

        def success(ink: "Ink", file: Path) -> None:
            rates, intervals = [one.success_rate for one in tried], [one.interval for one in tried]
            plots.success(names, rates, intervals, [one.says for one in tried], ink, file)

        def failures(ink: "Ink", file: Path) -> None:
            plots.failures(names, [one.failures for one in tried], [one.trials for one in tried], ink, file)

        yield picture(success, where, "success", "Success: a dot for the rate, a bar for its 95% Wilson interval")
        yield picture(
            lambda ink, file: plots.unfolding(_unfolding(morning), ink, file),
            where,
            "trials",
            "Success while the trials went on, with 95% Wilson intervals",
        )
        yield picture(failures, where, "failures", "Failures by code, as a share of all valid trials")
    known = [row for row in morning.board if row["forgotten"] is not None]
    if known:
        yield picture(
            lambda ink, file: plots.board(known, ink, file),
            where,
            "board",
            "Do no harm: by how much the candidate's error differs from the champion's; to the left is better",
        )


def _unfolding(morning: Morning) -> dict[str, list[bool]]:
    """Each policy's valid trials in the order they were run, and whether they succeeded."""
    return {
        f"{one.name} ({_role(morning, one.name)})": [
            taken.outcome is Outcome.SUCCESS for taken in one.taken if taken.outcome in VALID
        ]
        for one in morning.tried
    }


def _role(morning: Morning, name: str) -> str:
    return "candidate" if name == morning.candidate else "champion"


def _mark(step: Step) -> str:
    return {True: "yes", False: "NO", None: ""}[step.passed]


def _errors(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a row of the board says, in words."""
    champion, candidate, change = row["champion"], row["candidate"], row["forgotten"]
    return (
        "" if champion is None else f"{champion:.3f}",
        "" if candidate is None else f"{candidate:.3f}",
        "not measured" if change is None else f"{change:+.0%}",
    )
