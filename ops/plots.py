"""Pictures of results. Every function draws plain numbers into one PNG file, in light or dark ink."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ops.rates import wilson

if TYPE_CHECKING:
    from ops.by_axis import OnAxis
    from ops.results import Tally


@dataclass(frozen=True)
class Ink:
    """The colours that depend on the page."""

    text: str
    line: str
    good: str
    bad: str


LIGHT = Ink(text="#24292f", line="#d0d7de", good="#0b7285", bad="#c92a2a")
DARK = Ink(text="#e6edf3", line="#3d444d", good="#3bc9db", bad="#ff8787")

CODES = {
    "SEM-OBJ": "#7048e8",
    "SEM-GOAL": "#9775fa",
    "SEM-SEQ": "#b197fc",
    "SEM-IDLE": "#868e96",
    "LOC": "#e8590c",
    "CON": "#1c7ed6",
    "LIFT": "#4dabf7",
    "DROP": "#0ca678",
    "SIZE": "#a9e34b",
    "KIN": "#e64980",
    "PREC": "#f59f00",
    "TIME": "#adb5bd",
}
"""A failure mode has the same colour on every page."""

SERIES = ("#1098ad", "#f76707", "#845ef7", "#37b24d", "#f06595", "#f59f00", "#339af0", "#868e96")

Point = tuple[float, float]


@dataclass(frozen=True)
class Starts:
    """Where the instructed cube stood at the start of a policy's trials, x and y on the table, in metres."""

    name: str
    succeeded: Sequence[Point]
    failed: Sequence[Point]
    goals: Sequence[Point]


@dataclass(frozen=True)
class Dawn:
    """The morning after a night: rates with the ends of their intervals, 0 to 1."""

    under: str
    """What stands under it, in short lines."""
    candidate: tuple[float, float, float] | None
    champion: tuple[float, float, float] | None
    promoted: bool


def success(
    names: Sequence[str],
    rates: Sequence[float | None],
    intervals: Sequence[tuple[float, float] | None],
    labels: Sequence[str],
    ink: Ink,
    file: Path,
) -> None:
    """Draw every policy's success rate with its interval."""
    figure, axes = _figure(7.2, 0.9 + 0.55 * len(names), ink)
    places = np.arange(len(names))[::-1]
    for place, rate, interval, label in zip(places, rates, intervals, labels, strict=True):
        axes.text(1.03, place, label, va="center", color=ink.text, fontsize=9, transform=axes.get_yaxis_transform())
        if rate is None or interval is None:
            continue
        low, high = interval
        axes.plot([low * 100, high * 100], [place, place], color=ink.good, linewidth=5, alpha=0.35)
        axes.plot([rate * 100], [place], "o", color=ink.good, markersize=9)
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(-2, 102)
    axes.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="x", color=ink.line, linewidth=0.8)
    _save(figure, file)


def trend(points: "Sequence[Tally]", ink: Ink, file: Path) -> None:
    """Draw every policy's success rate batch by batch, the newest on the right."""
    batches = list(dict.fromkeys(at.batch for at in points))
    figure, axes = _figure(7.2, 3.2, ink)
    names = list(dict.fromkeys(at.policy for at in points))
    for number, name in enumerate(names):
        colour = SERIES[number % len(SERIES)]
        own = [at for at in points if at.policy == name and at.interval is not None]
        at_ = [batches.index(at.batch) + 0.08 * (number - (len(names) - 1) / 2) for at in own]
        for place, at in zip(at_, own, strict=True):
            low, high = at.interval or (0.0, 1.0)
            axes.plot([place, place], [low * 100, high * 100], color=colour, linewidth=3, alpha=0.35)
        axes.plot(at_, [100 * at.successes / at.trials for at in own], "o-", color=colour, label=name)
    shown = {at.batch: f"{at.closed:%m-%d %H:%M}" for at in points}
    axes.set_xticks(range(len(batches)), [shown[batch] for batch in batches], rotation=30, ha="right")
    axes.set_ylim(-2, 102)
    axes.set_yticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="y", color=ink.line, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=min(4, len(names)), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def nights(mornings: Sequence[Dawn], ink: Ink, file: Path) -> None:
    """Draw the champion's success after each night as a line, and beside it candidates that were not promoted."""
    figure, axes = _figure(1.2 + 1.5 * max(3, len(mornings)), 4.2, ink)
    reigning = [(place, each.champion) for place, each in enumerate(mornings) if each.champion is not None]
    kept = [(place, one.candidate) for place, one in enumerate(mornings) if one.candidate and not one.promoted]
    for found, aside, mark, face, label, to in (
        (reigning, 0.0, "o-", ink.good, "champion of the morning", (-33, 5)),
        (kept, 0.12, "o", "none", "candidate that was not promoted", (8, -4)),
    ):
        at = [place + aside for place, _ in found]
        for where, (_, (_, low, high)) in zip(at, found, strict=True):
            axes.plot(
                [where] * 2, [100 * low, 100 * high], color=ink.good, linewidth=5, alpha=0.3, solid_capstyle="butt"
            )
        rates = [100 * rate for _, (rate, _, _) in found]
        axes.plot(at, rates, mark, color=ink.good, markerfacecolor=face, markersize=8, linewidth=2, label=label)
        for where, rate in zip(at, rates, strict=True):
            axes.annotate(f"{rate:.0f}%", (where, rate), to, textcoords="offset points", color=ink.text, fontsize=9)
    axes.set_xticks(range(len(mornings)), [each.under for each in mornings], fontsize=7.5)
    axes.set_xlim(-0.5, max(3, len(mornings)) - 0.5)
    axes.set_ylim(-2, 104)
    axes.set_yticks([0, 20, 40, 60, 80, 100], ["0%", "20%", "40%", "60%", "80%", "100%"])
    axes.grid(axis="y", color=ink.line, linewidth=0.8)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, labelcolor=ink.text)
    _save(figure, file)


def failures(
    names: Sequence[str], counts: Sequence[Mapping[str, int]], trials: Sequence[int], ink: Ink, file: Path
) -> None:
    """Draw what share of every policy's trials failed in which way, one coloured part per code."""
    codes = [code for code in CODES if any(count.get(code) for count in counts)]
    codes += sorted({code for count in counts for code in count} - set(codes))
    figure, axes = _figure(7.2, 1.5 + 0.55 * len(names), ink)
    places = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    for code in codes:
        share = np.array([100 * count.get(code, 0) / max(1, n) for count, n in zip(counts, trials, strict=True)])
        colour = CODES.get(code, ink.text)
        bars = axes.barh(places, share, left=left, height=0.55, color=colour, edgecolor=colour, label=code)
        shown = [str(count.get(code, "")) for count in counts]
        axes.bar_label(bars, shown, label_type="center", color="white", fontsize=8, fontweight="bold")
        left += share
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="x", color=ink.line, linewidth=0.8)
    if codes:
        figure.legend(loc="outside lower center", ncols=min(6, len(codes)), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def funnel(names: Sequence[str], shares: Sequence[Mapping[str, float]], ink: Ink, file: Path) -> None:
    """Draw what share of every policy's trials came as far as each step, in the order of the steps."""
    figure, axes = _figure(7.2, 3.6, ink)
    steps = list(shares[0]) if shares else []
    for number, (name, share) in enumerate(zip(names, shares, strict=True)):
        colour = SERIES[number % len(SERIES)]
        values = [100 * share[step] for step in steps]
        axes.plot(steps, values, "o-", color=colour, linewidth=2.2, markersize=6, label=name, clip_on=False)
    axes.set_ylim(0, 104)
    axes.set_yticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="y", color=ink.line, linewidth=0.8)
    if names:
        figure.legend(loc="outside lower center", ncols=min(4, len(names)), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def starts(policies: Sequence[Starts], pad: float, ink: Ink, file: Path) -> None:
    """Draw the table from above, the robot at the bottom, one panel per policy."""
    columns = min(3, max(1, len(policies)))
    lines = -(-max(1, len(policies)) // columns)
    figure, panels = _grid(lines, columns, ink)
    everything = np.array([p for s in policies for p in (*s.succeeded, *s.failed, *s.goals)]).reshape(-1, 2)
    for axes, here in zip(panels, policies, strict=False):
        tried = len(here.succeeded) + len(here.failed)
        axes.set_title(f"{here.name}: {len(here.succeeded)} of {tried}", color=ink.text, fontsize=10)
        for x, y in sorted(set(here.goals)):
            axes.add_patch(Circle((y, x), pad, color=ink.line, alpha=0.5, linewidth=0))
        for points, mark, colour, label in (
            (here.succeeded, "o", ink.good, "success"),
            (here.failed, "X", ink.bad, "failure"),
        ):
            xy = np.array(points).reshape(-1, 2)
            axes.scatter(xy[:, 1], xy[:, 0], s=46, marker=mark, color=colour, alpha=0.85, linewidths=0, label=label)
        if len(everything):
            low, high = everything.min(axis=0) - 0.08, everything.max(axis=0) + 0.08
            axes.set_xlim(high[1], low[1])
            axes.set_ylim(low[0], high[0])
        axes.set_aspect("equal")
        axes.set_xlabel("left  —  y (m)  —  right", color=ink.text, fontsize=8)
        axes.set_ylabel("x (m), away from the robot", color=ink.text, fontsize=8)
        axes.grid(color=ink.line, linewidth=0.6)
    marks = panels[0].get_legend_handles_labels()
    figure.legend(*marks, loc="outside lower center", ncols=2, frameon=False, labelcolor=ink.text)
    for axes in panels[len(policies) :]:
        axes.set_visible(False)
    _save(figure, file)


def axes(policies: Mapping[str, Sequence["OnAxis"]], ink: Ink, file: Path) -> None:
    """Draw each policy's rate and interval for every axis, a colour each; a dot is full where it learned from such."""
    lines = list(dict.fromkeys(on.axis for tried in policies.values() for on in tried))
    figure, panel = _figure(7.2, 1.0 + (0.3 + 0.22 * len(policies)) * len(lines), ink)
    for number, (name, tried) in enumerate(policies.items()):
        colour = SERIES[number % len(SERIES)]
        panel.plot([], [], "o-", color=colour, linewidth=3, label=name)
        for on in tried:
            if on.success_rate is None or on.interval is None:
                continue
            place = -lines.index(on.axis) + 0.6 * (0.5 - (number + 0.5) / len(policies))
            panel.plot([100 * end for end in on.interval], [place] * 2, color=colour, linewidth=4, alpha=0.35)
            face = colour if on.split == "seen" else "none"
            panel.plot([100 * on.success_rate], [place], "o", color=colour, markersize=7, markerfacecolor=face)
    panel.set_yticks([-place for place in range(len(lines))], lines)
    panel.set_ylim(-len(lines) + 0.5, 0.5)
    panel.set_xlim(-2, 102)
    panel.set_xticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    panel.grid(axis="x", color=ink.line, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=min(4, len(policies)), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def rates(series: Mapping[str, Sequence[tuple[float, float, str]]], ink: Ink, file: Path) -> None:
    """Draw what is kept (dB) against what it costs: a line for each name through (rate, PSNR, label)."""
    figure, axes = _figure(6.4, 4.0, ink)
    for number, (name, points) in enumerate(series.items()):
        colour = SERIES[number % len(SERIES)]
        axes.plot([p[0] for p in points], [p[1] for p in points], "o-", color=colour, linewidth=2.2, label=name)
        for rate, kept, label in points:
            axes.annotate(label, (rate, kept), (6, -12), textcoords="offset points", color=ink.text, fontsize=8)
    axes.set_xlabel("rate", color=ink.text, fontsize=9)
    axes.set_ylabel("PSNR (dB)", color=ink.text, fontsize=9)
    axes.grid(color=ink.line, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=min(4, len(series)), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def filmstrip(frames: Sequence[NDArray[np.uint8]], under: Sequence[str], title: str, file: Path) -> None:
    """Draw frames (height, width, 3) side by side with words under each; grey text suits light and dark pages."""
    grey = "#7d8590"
    height, width = frames[0].shape[:2]
    figure = Figure(figsize=(2.6 * len(frames), 2.6 * height / width + 0.55), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=grey, fontsize=11, fontweight="bold")
    for axes, frame, words in zip(np.ravel(figure.subplots(1, len(frames))), frames, under, strict=True):
        axes.imshow(frame)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.set_xlabel(words, color=grey, fontsize=9)
    _save(figure, file)


def unfolding(tried: Mapping[str, Sequence[bool]], ink: Ink, file: Path) -> None:
    """Draw how each policy's success rate became known, trial by trial, with its 95 % Wilson interval."""
    figure, axes = _figure(7.2, 3.2, ink)
    for number, (name, succeeded) in enumerate(tried.items()):
        if not succeeded:
            continue
        colour, turns = SERIES[number % len(SERIES)], np.arange(1, len(succeeded) + 1)
        sums = np.cumsum(succeeded)
        low, high = np.array([wilson(int(good), int(n)) for good, n in zip(sums, turns, strict=True)]).T
        axes.fill_between(turns, 100 * low, 100 * high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(turns, 100 * sums / turns, color=colour, linewidth=2, label=name)
    axes.set_xlim(1, max(2, *(len(each) for each in tried.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trials", color=ink.text)
    axes.set_ylim(-2, 102)
    axes.set_yticks([0, 25, 50, 75, 100], ["0%", "25%", "50%", "75%", "100%"])
    axes.grid(axis="y", color=ink.line, linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=min(4, max(1, len(tried))), frameon=False, labelcolor=ink.text)
    _save(figure, file)


def board(rows: Sequence[Mapping[str, Any]], ink: Ink, file: Path) -> None:
    """Draw by which share a candidate's error on each task, or part of one, differs from the champion's."""
    figure, axes = _figure(7.2, 0.9 + 0.5 * len(rows), ink)
    places = np.arange(len(rows))[::-1]
    changes = [100 * row["forgotten"] for row in rows]
    axes.barh(places, changes, color=[ink.bad if change > 0 else ink.good for change in changes], height=0.55)
    axes.axvline(0, color=ink.line, linewidth=1)
    axes.set_yticks(places, [f"{row['what']} ({row['episodes']})" for row in rows])
    reach = max(30.0, *(1.1 * abs(change) for change in changes))
    axes.set_xlim(-reach, reach)
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:+.0f}%")
    axes.grid(axis="x", color=ink.line, linewidth=0.8)
    _save(figure, file)


def _figure(width: float, height: float, ink: Ink) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _plain(axes, ink)
    return figure, axes


def _grid(lines: int, columns: int, ink: Ink) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(3.4 * columns, 3.4 * lines), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    panels: list[Any] = np.ravel(figure.subplots(lines, columns, squeeze=False)).tolist()
    for axes in panels:
        _plain(axes, ink)
    return figure, panels


def _plain(axes: Axes, ink: Ink) -> None:
    """Leave only what carries information."""
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=ink.text, labelsize=9)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0)


def _save(figure: Figure, file: Path) -> None:
    figure.savefig(file, transparent=True, bbox_inches="tight", pad_inches=0.08)
