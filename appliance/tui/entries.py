"""How one episode is written in a list of a small terminal, and in a few lines below it."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from uuid import UUID

from storage import Edit, Listed, Outcome, Standing, Verdict

COLUMNS: Mapping[str, int] = {"when": 11, "task": 12, "who": 10, "s": 5, "gap/lost/late": 13, "verdict": 11}
"""What a list shows of an episode, and how wide."""

MARKS = {"retired": "R", "quarantined": "Q", "purged": "P", "trimmed": "T"}
"""Letters, so that what is set aside can be told without colours."""

SAID = 3
"""How many of the last verdicts and edits are told."""


def cells(found: Listed, names: Mapping[UUID, str]) -> dict[str, str]:
    """An episode's row, by column; ``names`` says by episode which policy drove, if one did."""
    row, standing = found.row, found.standing
    who = names.get(row.id) if row.policy is not None else row.operator
    graded = (_number(row.gap, 1e3, 0), _number(row.lost, 1, 1), _number(row.late, 1e3, 0))
    return {
        "when": f"{row.started.astimezone():%m-%d %H:%M}",
        "task": standing.task,
        "who": who or row.agent,
        "s": f"{row.seconds:.1f}",
        "gap/lost/late": "/".join(graded),
        "verdict": f"{_verdict(standing)} {marks(standing)}".strip(),
    }


def marks(standing: Standing) -> str:
    """Letters for what was done to it."""
    trimmed = standing.start is not None or standing.end is not None
    holds = (standing.retired, standing.quarantined, standing.purged, trimmed)
    return "".join(letter for letter, held in zip(MARKS.values(), holds, strict=True) if held)


def about(found: Listed, names: Mapping[UUID, str], verdicts: Sequence[Verdict], edits: Sequence[Edit]) -> list[str]:
    """What is known of an episode: itself, who drove, and the last that was said and done."""
    row, standing = found.row, found.standing
    named = f", {names[row.id]}" if row.id in names else ""
    order = f", for order {row.order}" if row.order is not None else ""
    scene = ", ".join(f"{key} {value}" for key, value in row.condition.items())
    kept = "" if found.keep is None else f", used from {found.keep[0]:g} s to {found.keep[1]:g} s"
    first = f"{row.id}  {row.agent}{named} {row.operator} at {row.station or 'no station'}{order}".replace(
        "  at", " at"
    )
    second = f"ended by {row.ended_by}{', recovered' if row.recovered else ''}{kept}{scene and f'; {scene}'}"
    if standing.task != row.task:
        second += f"; recorded as {row.task}"
    said = [(one.given, _said(one)) for one in verdicts] + [(one.made, _done(one)) for one in edits]
    said.sort(key=itemgetter(0), reverse=True)
    return [first, second, *(f"{when.astimezone():%m-%d %H:%M} {text}" for when, text in said[:SAID])]


def _verdict(standing: Standing) -> str:
    if standing.outcome is None:
        return "?"
    return standing.failure or "failed" if standing.outcome is Outcome.FAILURE else str(standing.outcome)


def _number(value: float | None, times: float, digits: int) -> str:
    return "-" if value is None else f"{value * times:.{digits}f}"


def _said(one: Verdict) -> str:
    how = " ".join(filter(None, (str(one.outcome), one.failure, one.stage)))
    return f"{how}, says {one.by} ({one.labelled_by}){one.note and f': {one.note}'}"


def _done(one: Edit) -> str:
    value = ", ".join(f"{key} {said}" for key, said in one.value.items())
    return f"{one.kind}{value and f' {value}'}, {one.by}{one.why and f': {one.why}'}"
