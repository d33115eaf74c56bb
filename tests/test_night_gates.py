"""Each gate of a night says yes, or no with its reason."""

from dataclasses import replace

import pytest

from ops.gates import Loaded, Row, believable, fresh, harmless, proved, room, sound

LOADED = Loaded(
    parent="ccol-1",
    parent_recorded="aa",
    parent_found="aa",
    recorded="bb",
    found="bb",
    new=12,
    alike=0.97,
    stages={"": {"done": 500, "steps": 500, "lr": 1e-3}},
)
"""A candidate as it should be."""


def test_without_anything_new_there_is_no_night() -> None:
    assert fresh("ccol-1", 40, 1, 1, 5).passed
    said = fresh("ccol-1", 40, 0, 1, 5)
    assert (said.passed, said.why) == (False, "nothing is new since ccol-1 learned from 40, and a night needs 1")
    assert (
        fresh("ccol-1", 40, 2, 3, 5).why == "2 demonstrations are new since ccol-1 learned from 40, and a night needs 3"
    )


def test_a_first_policy_needs_some_demonstrations() -> None:
    assert fresh(None, 0, 5, 1, 5).passed
    said = fresh(None, 0, 4, 1, 5)
    assert (said.passed, said.why) == (False, "4 demonstrations for a first policy, and it needs 5")


def test_without_room_there_is_no_night() -> None:
    assert room(2_000_000_000, 2_000_000_000).passed
    said = room(1_900_000_000, 2_000_000_000)
    assert (said.passed, said.why) == (False, "1.9 GB of the data folder's disk are free, and a night needs 2.0 GB")


def test_many_damaged_demonstrations_stop_a_night_and_a_few_do_not() -> None:
    assert sound(10, {"a": "it cannot be read"}, 0.2).passed
    said = sound(10, dict.fromkeys("abc", "it cannot be read"), 0.2)
    assert not said.passed
    assert said.why.startswith("3 of 10 demonstrations are not what was sealed: a it cannot be read;")


def test_many_doubted_demonstrations_stop_a_night_and_a_few_do_not() -> None:
    assert believable(10, {"a": "time runs backwards"}, 0.2, 1).passed
    said = believable(4, dict.fromkeys("ab", "time runs backwards"), 0.2, 1)
    assert not said.passed
    assert said.why.startswith("2 of 4 new demonstrations contradict what is said of them (at most 20% may): a time")


def test_enough_have_to_be_left_that_nobody_doubts() -> None:
    said = believable(5, {"a": "time runs backwards"}, 0.2, 5)
    assert (said.passed, said.why) == (False, "of 5 new demonstrations 1 are doubted, and 5 have to be left")


def test_what_a_candidate_was_made_from_is_told() -> None:
    said = proved(LOADED)
    assert said.passed
    assert said.why == (
        "from ccol-1 (aa), with 12 new episodes, its weights' cosine with them 0.970; 500 steps at 0.001, from step 0"
    )
    assert proved(replace(LOADED, parent=None, parent_recorded="", parent_found="", alike=None)).passed


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"parent_found": "cc"}, "the files of ccol-1 have digest cc, not aa"),
        ({"found": "cc"}, "the candidate's files have digest cc, not bb"),
        ({"new": 0}, "its snapshot has no episode that the champion did not learn from"),
        ({"alike": 1.0}, "its weights are those of ccol-1: it has learned nothing"),
        ({"alike": 0.13}, "their cosine is 0.13, so it did not go on from them"),
        ({"stages": {"": {"done": 400, "steps": 500, "lr": 1e-3}}}, "its training stopped at step 400 of 500"),
        ({"stages": {"flow": {"done": 0, "steps": 0, "lr": 1e-3}}}, "flow stopped at step 0 of 0"),
        ({"stages": {"": {"done": 500, "steps": 500, "lr": 0.0}}}, "its training had a learning rate of 0.0"),
    ],
)
def test_a_candidate_that_is_not_what_it_should_be_is_refused(wrong: dict[str, object], why: str) -> None:
    said = proved(replace(LOADED, **wrong))  # type: ignore[arg-type]  # fields by name
    assert not said.passed
    assert why in said.why


def board(own: float, earlier: float, *, keep: bool = False) -> list[Row]:
    """What a champion with an error of 0.4 everywhere has become."""
    return [Row("pick_place", 6, 0.4, own, guarded=True), Row("stack", 8, 0.4, earlier, guarded=keep)]


def test_a_candidate_that_got_worse_at_its_own_task_is_refused() -> None:
    assert harmless(board(0.49, 0.4), 0.25).passed
    said = harmless(board(0.6, 0.4), 0.25)
    assert not said.passed
    assert "its error on pick_place is 0.600, and the champion's is 0.400: 50% more" in said.why


def test_what_was_forgotten_of_an_earlier_task_refuses_only_where_that_is_asked_for() -> None:
    assert harmless(board(0.4, 0.8), 0.25).passed
    said = harmless(board(0.4, 0.8, keep=True), 0.25)
    assert not said.passed
    assert "stack" in said.why


def test_a_candidate_whose_plans_are_no_numbers_is_refused_where_the_champion_s_are() -> None:
    said = harmless([Row("pick_place", 6, 0.4, None, guarded=True)], 0.25)
    assert (said.passed, said.why) == (False, "its plans for pick_place are no numbers, and the champion's are")
    assert harmless([Row("stack", 6, 0.4, None, guarded=False)], 0.25).passed


def test_what_may_not_be_forgotten_has_to_be_measured() -> None:
    measured = Row("pick_place", 6, 0.4, 0.4, guarded=True)
    for stack in ([], [Row("stack", 0, None, None, guarded=True, seen="cannot be measured: no camera")]):
        said = harmless([measured, *stack], 0.25, ["stack"])
        assert not said.passed
        assert said.why.startswith("stack may not be forgotten, and nothing was measured of it")
    assert "no camera" in said.why
    assert harmless([measured, Row("stack", 8, 0.4, 0.4, guarded=True)], 0.25, ["stack"]).passed


def test_what_was_not_measured_is_not_harmless_but_left_to_trials() -> None:
    said = harmless([Row("pick_place", 0, None, None, guarded=True)], 0.25)
    assert (said.passed, said.why) == (True, "there is nothing to measure forgetting on; trials decide")
