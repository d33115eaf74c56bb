"""What is said of an episode: it has to make sense, and it stays on record."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from appliance.refusal import Refusal
from storage import Catalog, Outcome, Verdict

CELL_AT_FAULT = "ENV"
"""The one code that goes with an invalid episode, and with no other."""


class NotSo(Refusal):
    """A verdict contradicts itself, or names what does not exist."""


def judge(
    catalog: Catalog,
    episode: UUID,
    by: str,
    outcome: Outcome,
    failure: str | None = None,
    note: str = "",
    *,
    stage: str | None = None,
    secondary: Sequence[str] = (),
    evidence: dict[str, Any] | None = None,
    labelled_by: str = "human",
) -> Verdict:
    """Append a verdict. An earlier one stays on record, and this one counts.

    Raises:
        NotSo: a failure is not named, or something else is.
    """
    known = [mode.code for mode in catalog.failure_modes()]
    named = [code.removeprefix("recovered:") for code in (failure, *secondary) if code is not None]
    if unknown := [code for code in named if code not in known]:
        raise NotSo(f"there is no failure {', '.join(unknown)}; there are: {', '.join(known)}")
    if outcome is Outcome.FAILURE and failure in {None, CELL_AT_FAULT}:
        ways = ", ".join(code for code in known if code != CELL_AT_FAULT)
        raise NotSo(f"a failure has to say how it failed: {ways}. If the cell was at fault, the outcome is invalid")
    if outcome is Outcome.INVALID and failure not in {None, CELL_AT_FAULT}:
        raise NotSo(f"invalid means the cell was at fault, not the driver: {failure} goes with a failure")
    if outcome is Outcome.SUCCESS and failure is not None:
        raise NotSo(f"a success has no failure; {failure} may be given as secondary")
    verdict = Verdict(
        episode=episode,
        by=by,
        outcome=outcome,
        failure=failure,
        stage=stage,
        secondary=list(secondary),
        evidence=evidence or {},
        labelled_by=labelled_by,
        note=note,
    )
    catalog.add(verdict)
    return verdict
