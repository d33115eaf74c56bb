"""Show what the trials say: as tables for a terminal, as JSON for a program, as a page for a person."""

import base64
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from collectors.scripted import asked
from ops.axes import ORIG
from ops.judging.judgement import STAGES, TAXONOMY
from ops.judging.lines import RULES
from ops.published import NOTE
from ops.rates import tell_rate
from ops.results import PolicyReport, Report, Taken, summarize
from storage import Episode, Outcome
from storage.layout import RGB

if TYPE_CHECKING:
    from ops.plots import Ink, Starts

__all__ = ["Report", "as_json", "summarize", "tables", "text", "write_page"]

NAMES = {"S1": "approach", "S2": "acquire", "S3": "transport", "S4": "deliver", "S5": "finish"}
"""What happens in each stage."""

PACED = ("late plans", "a plan takes", "delay")
"""What is told of how plans kept up."""

STRIPS = 6
"""How many failed trials of a policy the page shows."""

CAMERA = "front"
"""Whose frames it shows, where there is one; else any camera's."""


@dataclass(frozen=True)
class Picture:
    """An image on the page: its own bytes, so that the page can be sent alone."""

    light: str
    dark: str
    says: str


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as one plain object, ready for ``json.dumps``."""
    return {
        "task": report.task,
        "made": report.made.isoformat(),
        "open_batches": {batch: {"done": n, "planned": of} for batch, (n, of) in report.open_batches.items()},
        "policies": [_policy_json(one) for one in report.policies],
        "published": [asdict(one) for one in report.published],
        "trend": [asdict(one) | {"closed": one.closed.isoformat()} for one in report.trend],
        "raters": [asdict(one) | {"says": one.says} for one in report.raters],
    }


def tables(report: Report) -> RenderableType:
    """Return the report as Rich tables, for a console."""
    if not report.policies:
        return Group(Text("No batch of trials has been closed yet."), *_running(report))
    rates = Table("policy", "method", "success", "against the best other", box=SIMPLE_HEAD)
    steps = Table("policy", *(NAMES[stage] for stage in STAGES), "success", "invalid", box=SIMPLE_HEAD)
    ways = Table("policy", "failures", box=SIMPLE_HEAD)
    for column in steps.columns[1:]:
        column.justify = "right"
    for table in (rates, steps, ways):
        table.columns[0].no_wrap = True
    for one in report.policies:
        name = _label(report, one)
        rates.add_row(name, one.method, one.says, one.against_best.says if one.against_best else "there is no other")
        left_out = f"{one.invalid}" + (f" + {one.unjudged} unjudged" if one.unjudged else "")
        steps.add_row(name, *(str(n) for n in one.funnel.values()), str(one.successes), left_out)
        ways.add_row(name, ", ".join(f"{code} {n}" for code, n in one.failures.items()) or "none")
    funnel = Text("how many trials came how far"), steps
    return Group(
        *(rates, *_lasting(report), *_axes(report), *funnel, ways, *(Text(one.says) for one in report.raters)),
        *(*_over_time(report), *_paced(report), *_published(report), *_running(report)),
    )


def text(report: Report, width: int | None = None) -> str:
    """Return the report as plain lines, as wide as the terminal unless ``width`` says otherwise."""
    out = io.StringIO()
    Console(file=out, width=width or shutil.get_terminal_size().columns).print(tables(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def write_page(report: Report, folder: Path, store_root: Path) -> Path:
    """Write ``report.html`` and its pictures; the page has copies of them inside, so that it can be sent alone.

    Args:
        report: what to show.
        folder: where to; it is made if need be.
        store_root: the data folder, for the starts and frames of the recorded trials.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return written(
        folder / "report.html",
        "report.html.j2",
        report=report,
        title=f"Trials of {report.task}" if report.task else "Trials",
        label=lambda one: _label(report, one),
        note=NOTE,
        names=NAMES,
        varied=_varied(report),
        paced=PACED,
        rules=TAXONOMY,
        plots=list(_plots(report, folder, store_root)) if report.policies else [],
        strips={
            str(one.id): list(strips(one, number, folder, store_root))
            for number, one in enumerate(report.policies, start=1)
        },
    )


def written(page: Path, template: str, /, **shown: Any) -> Path:
    """Write a page that a template beside this module makes of values; until it is whole, the one before stays."""
    import jinja2  # pages alone need it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    unfinished = page.with_name(f"{page.name}.part")
    unfinished.write_text(environment.get_template(template).render(shown), encoding="utf-8")
    return unfinished.rename(page)


def _policy_json(one: PolicyReport) -> dict[str, Any]:
    plain = {key: value for key, value in asdict(one).items() if key not in {"id", "interval", "taken"}}
    results = [
        asdict(taken) | {"episode": str(taken.episode), "secondary": list(taken.secondary)} for taken in one.taken
    ]
    interval = list(one.interval) if one.interval else None
    axes = [asdict(on) | {"says": on.says} for on in one.axes]
    cadence = asdict(one.cadence) if one.cadence else None
    whole = {"id": str(one.id), **plain, "interval": interval, "cadence": cadence, "axes": axes, "says": one.says}
    return whole | {"results": results}


def _axes(report: Report) -> Iterator[RenderableType]:
    """The same trials by what was varied, where anything was."""
    if tried := _varied(report):
        rows = Table("policy", "axis", "split", "success", box=SIMPLE_HEAD)
        for one in tried:
            for on in one.axes:
                rows.add_row(_label(report, one), on.axis, on.split, on.says)
        yield from (Text("the same trials by what of the scene was varied"), rows)


def _varied(report: Report) -> list[PolicyReport]:
    """Those policies that were tried with the scene varied."""
    return [one for one in report.policies if any(on.axis != ORIG for on in one.axes)]


def _lasting(report: Report) -> Iterator[Text]:
    """Say which successes by a suite's own count lasted."""
    for one in report.policies:
        if one.lasted is not None:
            yield Text(f"{_label(report, one)}: {one.lasted} of its {one.successes} successes lasted by our own rules")


def _paced(report: Report) -> Iterator[RenderableType]:
    """Say how plans kept up, where that is known."""
    rows = Table("policy", *PACED, box=SIMPLE_HEAD)
    for one in report.policies:
        if one.cadence is not None:
            rows.add_row(_label(report, one), *one.cadence.says)
    if rows.row_count:
        yield from (Text("how plans kept up: usual / worst"), rows)


def _published(report: Report) -> Iterator[RenderableType]:
    """The papers' rows, labelled."""
    if report.published:
        rows = Table("paper", "method", "success", "of", "demonstrations", box=SIMPLE_HEAD)
        for one in report.published:
            rows.add_row(one.source, one.method, f"{one.success:g}%", one.of, one.trained)
        yield from (Text(NOTE), rows)


def _over_time(report: Report) -> list[RenderableType]:
    """Every closed batch, once there are several."""
    if len({at.batch for at in report.trend}) < 2:
        return []
    table = Table("closed", "batch", "policy", "success", box=SIMPLE_HEAD)
    for at in report.trend:
        name = at.policy if report.task else f"{at.policy} ({at.task})"
        table.add_row(f"{at.closed:%Y-%m-%d %H:%M}", at.batch, name, tell_rate(at.successes, at.trials))
    return [Text("batch by batch"), table]


def _running(report: Report) -> list[Text]:
    return [
        Text(f"batch {batch} is still running, {n} of {of} trials done: not counted")
        for batch, (n, of) in report.open_batches.items()
    ]


def _label(report: Report, one: PolicyReport) -> str:
    return one.name if report.task else f"{one.name} ({one.task})"


def _plots(report: Report, folder: Path, store_root: Path) -> Iterator[Picture]:
    """Draw everything that compares the policies."""
    from ops import plots  # matplotlib takes long to import

    all_of = report.policies
    names = [_label(report, one) for one in all_of]
    reached = [
        {f"{stage} {NAMES[stage]}": n / max(1, one.trials) for stage, n in one.funnel.items()}
        | {"success": one.success_rate or 0.0}
        for one in all_of
    ]
    places = [_starts(one, report.instructions[one.task], store_root) for one in all_of]

    def success(ink: "Ink", file: Path) -> None:
        rates, intervals = [one.success_rate for one in all_of], [one.interval for one in all_of]
        plots.success(names, rates, intervals, [one.says for one in all_of], ink, file)

    def failures(ink: "Ink", file: Path) -> None:
        plots.failures(names, [one.failures for one in all_of], [one.trials for one in all_of], ink, file)

    yield picture(success, folder, "success", "Success: a dot for the rate, a bar for its 95% Wilson interval")
    yield picture(failures, folder, "failures", "Failures by code, as a share of all valid trials")
    if len({at.batch for at in report.trend}) > 1:
        yield picture(
            lambda ink, file: plots.trend(report.trend, ink, file),
            folder,
            "trend",
            "Success batch by batch, oldest first; a bar is a 95% Wilson interval",
        )
    yield picture(
        lambda ink, file: plots.funnel(names, reached, ink, file), folder, "funnel", "How far the trials came"
    )
    if tried := _varied(report):
        yield picture(
            lambda ink, file: plots.axes({_label(report, one): one.axes for one in tried}, ink, file),
            folder,
            "axes",
            "Success by what of the scene was varied, with 95% Wilson intervals; full dots: it learned from such",
        )
    if any(place.succeeded or place.failed for place in places):
        yield picture(
            lambda ink, file: plots.starts(places, RULES.tolerance, ink, file),
            folder,
            "starts",
            "Where the object stood at the start, seen from above; the grey discs are goals",
        )


def picture(draw: "Callable[[Ink, Path], None]", folder: Path, name: str, says: str) -> Picture:
    """Draw something in both inks, for a page."""
    from ops import plots

    light, dark = folder / f"{name}.png", folder / f"{name}-dark.png"
    draw(plots.LIGHT, light)
    draw(plots.DARK, dark)
    return Picture(_inside(light), _inside(dark), says)


def _inside(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _starts(one: PolicyReport, instruction: str, store_root: Path) -> "Starts":
    """Read where the instructed cube stood in the first row of each valid trial that knows it."""
    from ops.plots import Starts

    places: dict[Outcome, list[tuple[float, float]]] = {Outcome.SUCCESS: [], Outcome.FAILURE: []}
    goals = []
    for taken in one.taken:
        episode = _episode(taken, store_root)
        if taken.outcome not in places or episode is None or "truth" not in episode.streams:
            continue
        names = [name for name in episode.dtype("truth").names or () if name.endswith(("_cube", "_pad"))]
        if not names:
            continue
        cube, pad = (episode["truth", name] for name in asked(instruction, names))
        if len(cube):
            places[taken.outcome].append((float(cube[0, 0]), float(cube[0, 1])))
            goals.append((float(pad[0, 0]), float(pad[0, 1])))
    return Starts(one.name, places[Outcome.SUCCESS], places[Outcome.FAILURE], goals)


def strips(one: PolicyReport, place: int, folder: Path, store_root: Path) -> Iterator[Picture]:
    """Show the first, the deciding and the last moment of failed trials."""
    from ops import plots

    failed = [taken for taken in one.taken if taken.outcome is Outcome.FAILURE]
    for number, taken in enumerate(failed[:STRIPS], start=1):
        episode = _episode(taken, store_root)
        camera = None if episode is None else _camera(episode)
        if episode is None or camera is None or not len(episode.frames(camera)):
            continue
        t = episode[camera, "t"]
        seconds = (t - t[0]) / 1e9
        if taken.closing is None:
            middle, words = len(t) // 2, "half-way"
        else:
            middle, words = int(np.searchsorted(seconds, taken.closing)), "first closing"
        rows = [0, min(middle, len(t) - 1), len(t) - 1]
        under = [f"{word}, {seconds[row]:.1f} s" for word, row in zip(("start", words, "end"), rows, strict=True)]
        title = f"{taken.code or 'unnamed'} {taken.stage or ''}".strip()
        file = folder / f"failed-{place}-{number}.png"
        plots.filmstrip([episode.frames(camera)[row] for row in rows], under, title, file)
        condition = ", ".join(f"{key} {value}" for key, value in taken.condition.items())
        also = f"; also {', '.join(taken.secondary)}" if taken.secondary else ""
        says = f"{title}{also}; {condition}; appliance view {str(taken.episode)[:8]}"
        yield Picture(_inside(file), _inside(file), says)


def _camera(episode: Episode) -> str | None:
    cameras = sorted(name for name in episode.streams if RGB in (episode.dtype(name).names or ()))
    return CAMERA if CAMERA in cameras else next(iter(cameras), None)


def _episode(taken: Taken, store_root: Path) -> Episode | None:
    """Open a trial's record; None when it is not on this disk, which ``verify`` reports."""
    path = store_root / taken.path
    return Episode(path) if path.is_dir() else None
