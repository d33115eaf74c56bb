"""Takes in the papers' suites: success is what the suite counts, and a failure is named as far as its truth tells."""

from typing import Any

import numpy as np
import pytest

from collectors.scripted import Unclear
from drivers import Rows, row_type
from ops.failures import JUDGES
from ops.judging.judgement import Judgement
from ops.judging.suite import finished, fits, judge_rows
from storage import Outcome
from tests.test_failures_aloha import HANDOVER, Take, given, lifted, reached

HZ = 25
OPEN = "open the microwave"
HANDLE = np.array([0.5, 0.6, 0.0])


def counted(take: Take, over: int | None = None) -> tuple[Rows, Rows]:
    """The same take as the suite counts it: a success as soon as its last stage is reached; ``over`` after a row."""
    truth = take.truth()
    fields = [(name, truth.dtype[name]) for name in truth.dtype.names or ()]
    rows = np.zeros(len(truth), [*fields, ("reward", "<f8"), ("success", "?"), ("over", "?")])
    for name, _ in fields:
        rows[name] = truth[name]
    rows["reward"], rows["success"] = truth["stage"], truth["stage"] == 4
    rows["over"] = False if over is None else np.arange(len(rows)) >= over
    return rows, take.arm()


def kitchen(path: Any, off: Any, over: bool = False, element: str | None = "microwave") -> tuple[Rows, Rows]:
    """A take made by hand: where the tool is, and how far the element is from done, at 25 Hz."""
    path, off = np.asarray(path, float), np.broadcast_to(off, len(path))
    things = [] if element is None else [(element, "<f8", (3,)), ("off", "<f8")]
    truth = np.zeros(len(path), row_type(("reward", "<f8"), ("success", "?"), ("over", "?"), *things))
    arm = np.zeros(len(path), row_type(("tool", "<f8", (7,)), ("dq", "<f8", (7,)), ("width", "<f8")))
    truth["t"] = arm["t"] = 1_000_000_000 + np.arange(len(path)) * 1_000_000_000 // HZ
    arm["tool"][:, :3] = path
    truth["over"][-1] = over
    if element is not None:
        truth[element], truth["off"], truth["success"] = HANDLE, off, off < 0.3
    return truth, arm


def way(to: Any, seconds: float = 4.0, rest: float = 0.0) -> Any:
    """Straight from 30 cm off to a place, and then some rest."""
    steps = np.linspace([0.2, 0.6, 0.0], to, round(seconds * HZ))
    return np.concatenate([steps, np.repeat(steps[-1:], round(rest * HZ), axis=0)])


def said(found: Judgement) -> tuple[Outcome, str | None, str | None]:
    return found.outcome, found.stage, found.code


def test_suites_are_judged_by_their_own_count_and_our_twin_is_not() -> None:
    truth, arm = counted(given().wait(0.5))
    first = next(rules for rules in JUDGES if rules.fits(truth.dtype.names or ()))
    assert first.judge_rows(truth, arm, HANDOVER).evidence["suite_rules"]
    assert not fits(given().truth().dtype.names or ())


def test_a_success_that_lasts_and_one_that_does_not() -> None:
    lasting = judge_rows(*counted(given().wait(0.5)), HANDOVER)
    assert said(lasting) == (Outcome.SUCCESS, None, None)
    assert (lasting.evidence["lasted"], lasting.secondary) == (True, ())
    dropped = judge_rows(*counted(reached().open(1).open(0).wait(1.0)), HANDOVER)
    assert said(dropped) == (Outcome.SUCCESS, None, None)
    assert (dropped.evidence["lasted"], dropped.secondary) == (False, ("DROP",))
    assert dropped.evidence["first_success"] < dropped.evidence["seconds"]


def test_a_failure_has_the_name_that_our_rules_give_it() -> None:
    found = judge_rows(*counted(lifted().slip(1).wait(1.0)), HANDOVER)
    assert said(found) == (Outcome.FAILURE, "S3", "DROP")
    assert "lasted" not in found.evidence


def test_a_success_after_the_suite_is_over_comes_too_late() -> None:
    take = given().wait(0.5)
    truth, _ = counted(take)
    early = int(truth["success"].argmax()) - 1
    found = judge_rows(*counted(take, over=early), HANDOVER)
    assert said(found) == (Outcome.FAILURE, "S5", "TIME")
    assert found.evidence["steps"] == early
    assert judge_rows(*counted(take, over=early + 1), HANDOVER).outcome is Outcome.SUCCESS


@pytest.mark.parametrize(
    ("path", "off", "stage", "code"),
    [
        (way(HANDLE), np.linspace(0.75, 0.2, 100), None, None),
        (way(HANDLE, rest=1.2), np.linspace(0.75, 0.5, 130), "S4", "PREC"),
        (way(HANDLE), np.linspace(0.75, 0.5, 100), "S4", "TIME"),
        (way(HANDLE, rest=1.2), 0.75, "S2", "CON"),
        (way([0.4, 0.6, 0.0]), 0.75, "S1", "TIME"),
        (way([0.2, 0.6, 0.0]), 0.75, "S1", "SEM-IDLE"),
    ],
)
def test_what_became_of_a_handle(path: Any, off: Any, stage: str | None, code: str | None) -> None:
    found = judge_rows(*kitchen(path, off), OPEN)
    assert said(found) == (Outcome.FAILURE if code else Outcome.SUCCESS, stage, code)
    assert found.evidence["object"] == "microwave"
    assert found.evidence["reached"] == (stage or "S5")


@pytest.mark.parametrize(("x", "code"), [(0.4, "LOC"), (0.3, "TIME")])
def test_fingers_that_close_beside_a_handle_missed_it(x: float, code: str) -> None:
    truth, arm = kitchen(way([x, 0.6, 0.0]), 0.75)
    arm["width"] = np.where(np.arange(len(arm)) < 90, 0.08, 0.0)
    assert said(judge_rows(truth, arm, OPEN)) == (Outcome.FAILURE, "S1", code)
    arm["width"] = 0.0
    assert said(judge_rows(truth, arm, OPEN)) == (Outcome.FAILURE, "S1", "TIME"), "they were never open"


def test_where_truth_tells_nothing_only_motion_is_known() -> None:
    moving, still = (kitchen(way(to), 0.0, element=None) for to in ([0.4, 0.6, 0.0], [0.2, 0.6, 0.0]))
    assert said(judge_rows(*moving, "any words")) == (Outcome.FAILURE, "S1", "TIME")
    assert said(judge_rows(*still, "any words")) == (Outcome.FAILURE, "S1", "SEM-IDLE")


def test_an_instruction_for_something_else_is_unclear() -> None:
    with pytest.raises(Unclear, match="microwave"):
        judge_rows(*kitchen(way(HANDLE), 0.75), "move the kettle")


def test_a_record_with_a_hole_is_no_trial() -> None:
    truth, arm = kitchen(way(HANDLE), 0.75)
    assert judge_rows(truth[:20], arm, OPEN, int(truth["t"][-1])).outcome is Outcome.INVALID
    truth, arm = kitchen(way(HANDLE), 0.2)
    assert judge_rows(truth, arm[:20], OPEN).outcome is Outcome.INVALID, "though the suite counts a success"


def test_a_running_take_ends_when_a_success_has_lasted_or_the_suite_is_over() -> None:
    truth, arm = counted(reached().wait(1.0))
    assert not finished({"truth": truth, "arm": arm}, HANDOVER), "the right arm still has it, too"
    truth, arm = counted(given().wait(0.5))
    assert finished({"truth": truth[-50:], "arm": arm[-50:]}, HANDOVER)
    truth, arm = counted(lifted(), over=5)
    assert finished({"truth": truth, "arm": arm}, HANDOVER)
    for off, over, ends in ((0.75, False, False), (0.2, False, True), (0.75, True, True)):
        truth, arm = kitchen(way(HANDLE), off, over)
        assert finished({"truth": truth, "arm": arm}, OPEN) is ends
    assert not finished({"truth": truth[:0], "arm": arm}, OPEN)
