"""How success rose from night to night, on starts that no night chooses by."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ops.rates import exact
from ops.report import Picture, picture, written
from ops.results import PolicyReport, compare, of_batch
from ops.slices import Slice
from storage import Catalog, Night, Unknown, WorkOrder

if TYPE_CHECKING:
    from ops.plots import Dawn, Ink

PAGE = "nights.html"


@dataclass(frozen=True)
class Exam:
    """How a policy did on the fixed starts."""

    policy: str
    successes: int
    trials: int
    interval: tuple[float, float]
    """Clopper-Pearson, 95 %: exact."""
    failures: dict[str, int]
    """By code, most frequent first."""

    @property
    def says(self) -> str:
        """E.g. ``28 of 40: 70% [53, 83]``."""
        low, high = self.interval
        rate = self.successes / self.trials
        return f"{self.successes} of {self.trials}: {rate:.0%} [{low * 100:.0f}, {high * 100:.0f}]"


@dataclass(frozen=True)
class Shown:
    """A work order, and what was shown for it."""

    order: int
    words: str
    """Which starts it asks for."""
    why: str
    wanted: int
    shown: int
    """Demonstrations for it that are good to learn from."""


@dataclass(frozen=True)
class Step:
    """One night, and the day before it."""

    night: str
    shown: tuple[Shown, ...]
    """What was shown the day before."""
    learned: int
    """Demonstrations that the candidate learned from; 0 where the night trained none."""
    decision: str
    why: str
    candidate: Exam | None
    """None where the night trained none."""
    champion: Exam | None
    """Of the morning after; None while there is none."""
    against: str
    """The candidate beside the champion of the evening before, start by start."""


@dataclass(frozen=True)
class Rising:
    """Night after night."""

    task: str
    instruction: str
    steps: tuple[Step, ...]
    overall: str
    """The last champion beside the first candidate, start by start."""


def exam_of(night: str) -> str:
    """The batch in which a night's candidate is tried from the fixed starts."""
    return hashlib.blake2b(f"{night}:fixed starts".encode(), digest_size=4).hexdigest()


def of(catalog: Catalog, task: str) -> Rising:
    """Read what the nights of a task have shown, as far as their candidates were tried from the fixed starts.

    Raises:
        Unknown: there is no such task.
    """
    nights = [row for row in catalog.nights(task) if row.ended is not None]
    exams = {row.id: report for row in nights if (report := _examined(catalog, row)) is not None}
    brought = [[one for one in catalog.orders(task, None) if not one.evidence]]
    steps: list[Step] = []
    best: PolicyReport | None = None
    for row in nights:
        mine, before = exams.get(row.id), best
        if row.decision == "promoted":
            best = mine
        found = row.facts.get("snapshot", {})
        step = Step(
            night=row.id,
            shown=tuple(_shown(catalog, one) for one in brought[-1]),
            learned=len(found.get("episodes", [])) if mine else 0,
            decision=row.decision,
            why=row.why,
            candidate=None if mine is None else _exam(mine),
            champion=None if best is None else _exam(best),
            against="" if mine is None or before is None else compare(mine, before).says,
        )
        steps.append(step)
        brought.append([catalog.work_order(one["id"]) for one in row.facts.get("orders", {}).get("placed", [])])
    first = next(iter(exams.values()), None)
    overall = "" if first is None or best is None or first.id == best.id else compare(best, first).says
    return Rising(task, catalog.task(task).instruction, tuple(steps), overall)


def _examined(catalog: Catalog, row: Night) -> PolicyReport | None:
    """How a night's candidate did on the fixed starts, once all of them were tried."""
    try:
        if catalog.batch(exam_of(row.id)).closed is None:
            return None
    except Unknown:
        return None
    return of_batch(catalog, exam_of(row.id))[0]


def _exam(report: PolicyReport) -> Exam | None:
    if not report.trials:
        return None
    interval = exact(report.successes, report.trials)
    return Exam(report.name, report.successes, report.trials, interval, report.failures)


def _shown(catalog: Catalog, order: WorkOrder) -> Shown:
    words = Slice.said(order.part).words
    return Shown(order.id, words, order.why, order.wanted, catalog.order_progress(order.id))


def as_json(rising: Rising) -> dict[str, Any]:
    """Return it as one plain object, ready for ``json.dumps``."""
    return asdict(rising)


def tables(rising: Rising) -> RenderableType:
    """Return it for a console."""
    table = Table("night", "shown before", "learned from", "candidate", "decision", "champion", box=SIMPLE_HEAD)
    for number, step in enumerate(rising.steps, start=1):
        table.add_row(
            *(str(number), "\n".join(_words(step)), str(step.learned or "")),
            *("" if step.candidate is None else step.candidate.says, step.decision),
            "none yet" if step.champion is None else step.champion.says,
        )
    parts: list[RenderableType] = [table, Text(_FOOT)]
    parts += [Text(f"night {number}: {step.against}") for number, step in enumerate(rising.steps, 1) if step.against]
    return Group(*parts, *([Text(f"In all: {rising.overall}", style="bold")] if rising.overall else []))


_FOOT = "Success on the same unseen starts, with exact 95% intervals. No night chooses by them, and no order follows."


def _words(step: Step) -> list[str]:
    """What was shown before a night, a part of the starts a line, whichever failures it was ordered for."""
    parts = dict.fromkeys(one.words for one in step.shown)
    return [f"{sum(one.shown for one in step.shown if one.words == part)} {part}" for part in parts] or ["nothing"]


def write_page(rising: Rising, where: Path) -> Path:
    """Write the page, with its pictures inside so that it can be sent alone, and the same as ``nights.json``.

    Returns:
        The page.
    """
    where.mkdir(parents=True, exist_ok=True)
    plot = _plot(rising, where)
    (where / "nights.json").write_text(json.dumps(as_json(rising), indent=2), encoding="utf-8")
    return written(where / PAGE, "rising.html.j2", rising=rising, words=_words, foot=_FOOT, plot=plot)


def _plot(rising: Rising, where: Path) -> Picture | None:
    """Draw success night by night."""
    from ops import plots  # matplotlib takes long to import

    nights = [*_drawn(rising.steps)]
    if not nights:
        return None

    def draw(ink: "Ink", file: Path) -> None:
        plots.nights(nights, ink, file)

    return picture(draw, where, "nights", f"Success after each night, and what was shown before it. {_FOOT}")


def _drawn(steps: Sequence[Step]) -> "Iterator[Dawn]":
    from ops import plots

    for number, step in enumerate(steps, start=1):
        candidate, champion = (
            None if exam is None else (exam.successes / exam.trials, *exam.interval)
            for exam in (step.candidate, step.champion)
        )
        shown = [f"+ {line}".replace(", ", ",\n") for line in _words(step)]
        learned = [f"{step.learned} learned from"] if step.learned else []
        under = [f"night {number}", *(shown if step.shown else ["nothing shown"]), *learned]
        yield plots.Dawn("\n".join(under), candidate, champion, step.decision == "promoted")
