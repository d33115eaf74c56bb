"""What the rows say together: a table as text and JSON, comparisons pair by pair, and a plot."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Self

from ops.published import CCOL_1, NOTE
from ops.rates import mcnemar, tell_rate, wilson
from tests.bench.methods.measures import Pace
from tests.bench.methods.recipes import Recipe, printed
from tests.bench.methods.rows import Done

MILLI = 1e3


@dataclass(frozen=True)
class Line:
    """One method at one task, all its training seeds together."""

    task: str
    entry: str
    of: str
    demos: int
    steps: int
    batch: int
    seeds: tuple[int, ...]
    trials: int
    successes: int
    interval: tuple[float, float] | None
    """Wilson, 95 %, over all trials."""
    by_seed: tuple[str, ...]
    """Successes of each training seed's trials, e.g. ``14/20``."""
    failures: dict[str, int]
    rough: float
    """Mean |second difference| of the joints' targets in force, mrad a tick squared: the mean over all trials."""
    rough_succeeded: float | None
    """The same over trials that succeeded; None without any."""
    took: float | None
    """Mean seconds of trials that succeeded; who is slower has it easier to be smooth."""
    plan_rough: float
    """Mean |second difference| of plans at demonstrations that nobody learned from; mm or mrad a step squared."""
    plan_shown: float
    """The same of what the script did there."""
    plan_error: float
    """Mean |difference| between both, in mm or mrad."""
    parameters: int
    steps_a_second: float | None
    """Training, in turns with the others; None without training."""
    steps_a_processor_second: float | None
    plan: float | None
    """Milliseconds until a plan."""
    paper: float | None
    """The success that a paper prints of this method at this task: other data."""
    revisions: tuple[str, ...]
    """Which code made the policies."""


@dataclass(frozen=True)
class Rough:
    """Mean |second difference| of one method's trials beside another's."""

    times: float
    """The one's over the other's."""
    smoother: int
    """Pairs in which the one's is less."""
    p: float
    """Exact sign test, two-sided."""

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> Self:
        smoother = sum(mine < its for mine, its in pairs)
        return cls(_times(pairs), smoother, mcnemar(smoother, len(pairs) - smoother))


@dataclass(frozen=True)
class Beside:
    """Two methods from the same starts, with the same training seeds."""

    task: str
    one: str
    other: str
    pairs: int
    only_one: int
    only_other: int
    p: float
    """Exact McNemar test, two-sided, over all pairs of a training seed and a start."""
    both: int
    """Pairs in which both succeeded; how smooth they were is compared there, and at all pairs if there is none."""
    of: int
    """Pairs in which smoothness is compared."""
    rough: Rough
    paced: Rough
    """The same times the duration squared: as if all trials had lasted equally long. Who takes a path twice as fast has
    second differences four times as large (Hogan and Sternad, Sensitivity of smoothness measures to movement duration,
    amplitude, and arrests, 2009)."""
    slower: float
    """How long the one took, over the other, there."""
    plans_rougher: float
    """Mean |second difference| of the one's plans over the other's, at the same moments of demonstrations."""


def lines(done: Sequence[Done], paces: Mapping[str, Pace]) -> list[Line]:
    """One line for each method at each task, in the order of the rows."""
    found: dict[tuple[str, str], list[Done]] = {}
    for one in done:
        found.setdefault((one.task, one.entry), []).append(one)
    return [_line(task, entry, some, paces.get(entry)) for (task, entry), some in found.items()]


def _line(task: str, entry: str, some: Sequence[Done], pace: Pace | None) -> Line:
    trials, successes = sum(one.trials for one in some), sum(one.successes for one in some)
    rough = [value for one in some for value in one.rough.values()]
    succeeded = [one.rough[start] for one in some for start, won in one.starts.items() if won]
    took = [one.lasted[start] for one in some for start, won in one.starts.items() if won]
    first = some[0]
    return Line(
        task=task,
        entry=entry,
        of=first.of,
        demos=first.demos,
        steps=first.steps,
        batch=first.batch,
        seeds=tuple(one.seed for one in some),
        trials=trials,
        successes=successes,
        interval=wilson(successes, trials) if trials else None,
        by_seed=tuple(f"{one.successes}/{one.trials}" for one in some),
        failures=dict(sum((Counter(one.failures) for one in some), Counter[str]()).most_common()),
        rough=MILLI * statistics.mean(rough) if rough else math.nan,
        rough_succeeded=MILLI * statistics.mean(succeeded) if succeeded else None,
        took=statistics.mean(took) if took else None,
        plan_rough=statistics.mean(one.plans["rough"] for one in some),
        plan_shown=statistics.mean(one.plans["shown"] for one in some),
        plan_error=statistics.mean(one.plans["error"] for one in some),
        parameters=first.parameters,
        steps_a_second=statistics.median(pace.steps) if pace and pace.steps else None,
        steps_a_processor_second=statistics.median(pace.worked) if pace and pace.worked else None,
        plan=pace.plan if pace else None,
        paper=printed(task, entry),
        revisions=tuple(sorted({one.revision for one in some})),
    )


def beside(done: Sequence[Done], task: str, one: str, other: str) -> Beside | None:
    """Compare two methods pair by pair; None without a start that both were tried from."""
    ours = {each.seed: each for each in done if each.task == task and each.entry == one}
    theirs = {each.seed: each for each in done if each.task == task and each.entry == other}
    pairs = [
        (ours[seed], theirs[seed], start)
        for seed in sorted(ours.keys() & theirs.keys())
        for start in ours[seed].starts.keys() & theirs[seed].starts.keys()
    ]
    if not pairs:
        return None
    won = [(mine.starts[start], its.starts[start]) for mine, its, start in pairs]
    rough = [(mine.rough[start], its.rough[start]) for mine, its, start in pairs]
    lasted = [(mine.lasted[start], its.lasted[start]) for mine, its, start in pairs]
    succeeded = [mine and its for mine, its in won]
    both, took = list(compress(rough, succeeded)), list(compress(lasted, succeeded)) or lasted
    compared = both or rough
    paced = [(ours * mine**2, theirs * its**2) for (ours, theirs), (mine, its) in zip(compared, took, strict=True)]
    only_one, only_other = sum(a and not b for a, b in won), sum(b and not a for a, b in won)
    return Beside(
        task=task,
        one=one,
        other=other,
        pairs=len(pairs),
        only_one=only_one,
        only_other=only_other,
        p=mcnemar(only_one, only_other),
        both=len(both),
        of=len(compared),
        rough=Rough.of(compared),
        paced=Rough.of(paced),
        slower=_times(took),
        plans_rougher=_plans(ours, theirs),
    )


def _times(pairs: Sequence[tuple[float, float]]) -> float:
    return sum(mine for mine, _ in pairs) / max(1e-12, sum(its for _, its in pairs))


def _plans(ours: Mapping[int, Done], theirs: Mapping[int, Done]) -> float:
    both = ours.keys() & theirs.keys()
    return sum(ours[seed].plans["rough"] for seed in both) / sum(theirs[seed].plans["rough"] for seed in both)


def comparisons(done: Sequence[Done]) -> list[Beside]:
    """CCoL beside LeRobot's ACT, and every ablation beside what it is one of."""
    found = []
    for task in dict.fromkeys(one.task for one in done):
        found.append(beside(done, task, "ccol", "lerobot.act"))
        found += [
            beside(done, task, of, entry)
            for entry, of in dict.fromkeys((one.entry, one.of) for one in done if one.task == task)
            if of
        ]
    return [one for one in found if one is not None]


HEADINGS = (
    *(
        "task",
        "method",
        "success [95 % Wilson]",
        "each seed",
        "paper*",
        "rough",
        "rough, succeeded",
        "s, succeeded",
        "plan rough (shown)",
        "error",
    ),
    *("steps/s", "steps/cpu s", "ms a plan", "parameters", "failures"),
)


def text(made: Recipe, found: Sequence[Line], compared: Sequence[Beside], machine: str) -> str:
    """All of it as plain lines."""
    cells = [HEADINGS, *(_cells(line) for line in found)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    some = found[0] if found else None
    head = [
        f"{made.says}: preset {made.preset}, {made.demos} demonstrations, "
        f"{made.trials} trials from the same unseen starts",
        *([f"{_budget(found)}, training seeds {', '.join(map(str, made.seeds))}"] if some else []),
        machine,
        "rough: mean |second difference| of the joints' targets in force, mrad a tick squared (mean over trials)",
        "plan rough: the same along plans at demonstrations that nobody learned from (and of those), mm or mrad",
        "error: mean |difference| between both",
        "steps/s, ms a plan: in turns in one process, one thread, beside other work; steps/cpu s: of processor time",
        *([f"* {CCOL_1}, {NOTE}"] if any(x.paper for x in found) else []),
    ]
    notes = [_told(one) for one in compared]
    if len(made_by := sorted({name for line in found for name in line.revisions})) > 1:
        notes.append(f"made by several revisions: {', '.join(made_by)}")
    return "\n".join([*head, "", *rows, "", *notes]) + "\n"


def _budget(found: Sequence[Line]) -> str:
    trained = [line for line in found if line.steps]
    steps, batch = sorted({line.steps for line in trained}), sorted({line.batch for line in trained})
    return f"{', '.join(map(str, steps))} steps of {', '.join(map(str, batch))} windows" if trained else "no training"


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.task,
        line.entry,
        tell_rate(line.successes, line.trials),
        " ".join(line.by_seed),
        "" if line.paper is None else f"{line.paper:.0%}",
        f"{line.rough:.2f}",
        _number(line.rough_succeeded, ".2f"),
        _number(line.took, ".1f"),
        f"{line.plan_rough:.2f} ({line.plan_shown:.2f})",
        f"{line.plan_error:.1f}",
        _number(line.steps_a_second, ".2f"),
        _number(line.steps_a_processor_second, ".2f"),
        _number(line.plan, ".1f"),
        f"{line.parameters / 1e6:.2f} M" if line.parameters else "0",
        ", ".join(f"{code} {count}" for code, count in line.failures.items()) or "none",
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _told(one: Beside) -> str:
    where = "where both succeeded" if one.both else "at all starts, for at none did both succeed"
    parts = (
        f"{one.task}: {one.one} beside {one.other}, {one.pairs} pairs: {one.only_one} succeeded alone",
        f"{one.only_other} of the other (exact McNemar p = {one.p:.2g})",
        f"{one.rough.times:.2f} times as rough {where} (smoother in {one.rough.smoother} of {one.of}, "
        f"sign test p = {one.rough.p:.2g})",
        f"in {one.slower:.2f} times the time",
        f"{one.paced.times:.2f} times as rough if all lasted equally long ({one.paced.smoother} of {one.of}, "
        f"p = {one.paced.p:.2g})",
        f"plans {one.plans_rougher:.2f} times as rough",
    )
    return ", ".join(parts)


def as_json(
    made: Recipe, found: Sequence[Line], compared: Sequence[Beside], done: Sequence[Done], machine: str
) -> dict[str, Any]:
    """All of it as one plain object."""
    return {
        "recipe": asdict(made),
        "machine": machine,
        "lines": [asdict(line) for line in found],
        "comparisons": [asdict(one) for one in compared],
        "rows": [asdict(one) for one in done],
    }


def plot(found: Sequence[Line], title: str, file: Path) -> None:
    """Draw success with its interval, smoothness, pace, time of a plan and size, a line for each method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ops.plots import LIGHT, SERIES

    figure = Figure(figsize=(17, 1.6 + 0.32 * len(found)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 6, sharey=True, width_ratios=(1.5, 1, 1, 1, 1, 1))
    places = list(range(len(found)))[::-1]
    tasks = list(dict.fromkeys(line.task for line in found))
    colours = [SERIES[tasks.index(line.task) % len(SERIES)] for line in found]
    for place, line, colour in zip(places, found, colours, strict=True):
        if line.interval is not None:
            low, high = (100 * end for end in line.interval)
            panels[0].plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.35)
            panels[0].plot([100 * line.successes / line.trials], [place], "o", color=colour, markersize=8)
        if line.paper is not None:
            panels[0].plot([100 * line.paper], [place], "d", color=LIGHT.text, markersize=6, fillstyle="none")
    measures: tuple[tuple[str, list[float | None]], ...] = (
        ("mean |second difference| of targets,\nsuccesses (mrad a tick squared)", [x.rough_succeeded for x in found]),
        ("the same of plans\n(mm a step squared)", [line.plan_rough for line in found]),
        ("training steps a second", [line.steps_a_second for line in found]),
        ("ms a plan", [line.plan for line in found]),
        ("parameters (M)", [line.parameters / 1e6 for line in found]),
    )
    for axes, (name, values) in zip(panels[1:], measures, strict=True):
        bars = axes.barh(places, [value or 0.0 for value in values], color=colours, height=0.6)
        axes.bar_label(bars, [f" {value:.3g}" if value else "" for value in values], fontsize=8, color=LIGHT.text)
        axes.set_xlabel(name, fontsize=9, color=LIGHT.text)
        axes.margins(x=0.25)
    several = len(tasks) > 1
    panels[0].set_yticks(places, [f"{line.entry}, {line.task}" if several else line.entry for line in found])
    panels[0].set_xlim(-2, 102)
    panels[0].set_xlabel("success (%), 95 % Wilson interval" + _diamond(found), fontsize=9, color=LIGHT.text)
    for axes in panels:
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, colors=LIGHT.text, labelsize=9)
        axes.grid(axis="x", color=LIGHT.line, linewidth=0.8)
        axes.set_axisbelow(True)
    figure.suptitle(title, fontsize=11, color=LIGHT.text)
    figure.savefig(file, facecolor="white", bbox_inches="tight", pad_inches=0.1)


def _diamond(found: Sequence[Line]) -> str:
    return "\ndiamond: as published, other data" if any(line.paper is not None for line in found) else ""
