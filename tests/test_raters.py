"""Two people's tags are compared with what chance would give, and what differs is shown."""

from uuid import UUID

import pytest

from ops.raters import agreements
from storage import Outcome, Verdict

CODES = {"DROP": Outcome.FAILURE, "LOC": Outcome.FAILURE, "success": Outcome.SUCCESS}


def said(by: str, *tags: str, first: int = 0, labelled_by: str = "human") -> list[Verdict]:
    return [
        Verdict(
            episode=UUID(int=number),
            by=by,
            outcome=CODES[tag],
            failure=None if tag == "success" else tag,
            labelled_by=labelled_by,
        )
        for number, tag in enumerate(tags, start=first)
    ]


def test_kappa_is_cohens_on_a_table_worked_by_hand() -> None:
    """20 of 50 both DROP, 15 both LOC, 5 DROP/LOC, 10 LOC/DROP: observed 0.70, chance 0.50, kappa 0.40."""
    ada = ["DROP"] * 25 + ["LOC"] * 25
    bob = ["DROP"] * 20 + ["LOC"] * 5 + ["DROP"] * 10 + ["LOC"] * 15
    (found,) = agreements(said("ada", *ada) + said("bob", *bob))
    assert found.episodes == 50
    assert found.same == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.apart == (("LOC", "DROP", 10), ("DROP", "LOC", 5))
    assert found.says == ("ada and bob: the same tag in 35 of 50 trials, kappa 0.40; most often LOC against DROP")


def test_who_always_says_the_same_as_everybody_shows_nothing_beyond_chance() -> None:
    (found,) = agreements(said("ada", "LOC", "LOC") + said("bob", "LOC", "LOC"))
    assert (found.same, found.kappa) == (1.0, None)
    (found,) = agreements(said("ada", "LOC", "DROP") + said("bob", "LOC", "LOC"))
    assert found.kappa == pytest.approx(0)


def test_the_last_word_counts_and_rules_are_nobody() -> None:
    verdicts = said("ada", "LOC", "DROP") + said("rules", "LOC", "LOC", labelled_by="auto")
    (found,) = agreements([*verdicts, *said("bob", "LOC", "success"), *said("bob", "DROP", first=1)])
    assert (found.one, found.other, found.same) == ("ada", "bob", 1.0)


def test_people_who_judged_nothing_in_common_are_not_compared() -> None:
    assert agreements(said("ada", "LOC") + said("bob", "LOC", first=1)) == []
    assert agreements([]) == []


def test_every_pair_of_three_is_compared() -> None:
    found = agreements(said("ada", "LOC") + said("bob", "LOC") + said("cyd", "DROP"))
    assert [(one.one, one.other) for one in found] == [("ada", "bob"), ("ada", "cyd"), ("bob", "cyd")]
