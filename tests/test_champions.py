"""A task has a champion, who can be replaced and gone back to; nothing of that is ever erased."""

import pytest

from storage import Catalog, PolicyRow, Refused, Task, Unknown
from tests.said import REACH, policy


@pytest.fixture
def rows(catalog: Catalog) -> list[PolicyRow]:
    catalog.add(REACH, Task(name="jump", instruction="jump over it"))
    found = [policy(f"bc-{number}", number) for number in (1, 2, 3)]
    catalog.add(*found)
    return found


def champion(catalog: Catalog) -> str | None:
    row = catalog.champion("reach")
    return None if row is None else row.name


def test_the_last_that_was_promoted_reigns(catalog: Catalog, rows: list[PolicyRow]) -> None:
    assert champion(catalog) is None
    catalog.promote(rows[0], "ada")
    catalog.promote(rows[1], "night", "better by 30 points", {"batch": "b"})
    assert champion(catalog) == "bc-2"
    assert catalog.champion("jump") is None
    last = catalog.promotions("reach")[-1]
    assert (last.by, last.why, last.evidence, last.kind) == ("night", "better by 30 points", {"batch": "b"}, "promoted")


def test_going_back_goes_back_one_champion_at_a_time_and_is_itself_on_record(
    catalog: Catalog, rows: list[PolicyRow]
) -> None:
    for row in rows:
        catalog.promote(row, "ada")
    catalog.roll_back("reach", "bob", "it drops things")
    assert champion(catalog) == "bc-2"
    catalog.roll_back("reach", "bob")
    assert champion(catalog) == "bc-1"
    with pytest.raises(Refused, match="had no champion before the one of now"):
        catalog.roll_back("reach", "bob")
    catalog.promote(rows[2], "ada", "it was the floor")
    assert champion(catalog) == "bc-3"
    catalog.roll_back("reach", "bob")
    assert champion(catalog) == "bc-1"
    kinds = [one.kind for one in catalog.promotions("reach")]
    assert kinds == ["promoted"] * 3 + ["rolled back"] * 2 + ["promoted", "rolled back"]


def test_who_reigns_is_not_promoted_and_who_is_not_there_neither(catalog: Catalog, rows: list[PolicyRow]) -> None:
    catalog.promote(rows[0], "ada")
    with pytest.raises(Refused, match="bc-1 is the champion of 'reach' already"):
        catalog.promote(rows[0], "ada")
    with pytest.raises(Unknown, match="there is no policy"):
        catalog.promote(policy("bc-9"), "ada")
    with pytest.raises(Refused, match=r"task 'jump' has no champion; .*promote"):
        catalog.roll_back("jump", "ada")
    with pytest.raises(Unknown, match="there is no task 'fly'"):
        catalog.roll_back("fly", "ada")
    assert len(catalog.promotions("reach")) == 1
