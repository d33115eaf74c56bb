"""A night's row says more step after step, and nothing twice, on either database."""

import pytest

from storage import Batch, Catalog, Night, PolicyRow, Promotion, Refused, Trial, Unknown
from tests.said import policy


def begun(catalog: Catalog, name: str = "one", **more: object) -> Night:
    return catalog.begin_night(Night(id=name, task="reach", station="franka-sim", by="ada", **more))  # type: ignore[arg-type]  # fields by name


def promoted(catalog: Catalog, row: PolicyRow, night: str, instead_of: PolicyRow | None) -> Promotion:
    said = Promotion(task="reach", policy=row.id, kind="promoted", by="night", evidence={"night": night})
    return catalog.promote_once(said, None if instead_of is None else instead_of.id)


def test_a_night_begins_once(catalog: Catalog) -> None:
    first = begun(catalog, settings={"trials": 4})
    assert begun(catalog, settings={"trials": 8}).settings == first.settings
    assert [row.id for row in catalog.nights("reach")] == ["one"]


def test_one_task_has_one_night_at_a_time(catalog: Catalog) -> None:
    begun(catalog)
    with pytest.raises(Refused, match="night 'one' of task 'reach' is not over"):
        begun(catalog, "two")
    catalog.end_night("one", "kept", "it was not better")
    begun(catalog, "two")
    assert [row.id for row in catalog.nights()] == ["one", "two"]


def test_a_name_belongs_to_one_task(catalog: Catalog) -> None:
    from storage import Task

    catalog.add(Task(name="stack", instruction="stack the cubes"))
    begun(catalog)
    with pytest.raises(Refused, match="is of task 'reach'"):
        catalog.begin_night(Night(id="one", task="stack", station="franka-sim", by="ada"))


def test_the_first_word_of_a_step_stands(catalog: Catalog) -> None:
    begun(catalog)
    assert catalog.night_found("one", "grade", {"good": 4}) == {"good": 4}
    assert catalog.night_found("one", "grade", {"good": 5}) == {"good": 4}
    catalog.night_found("one", "train", {"policy": "bc-1"})
    assert catalog.night("one").facts == {"grade": {"good": 4}, "train": {"policy": "bc-1"}}
    assert catalog.night_found("one", "plan", {"pair": (1, 2)}) == {"pair": [1, 2]}
    with pytest.raises(ValueError, match="JSON"):
        catalog.night_found("one", "gates", {"error": float("nan")})
    with pytest.raises(Unknown, match="there is no night 'two'"):
        catalog.night_found("two", "grade", {})


def test_a_night_ends_once(catalog: Catalog) -> None:
    begun(catalog)
    ended = catalog.end_night("one", "kept", "it was not better").ended
    again = catalog.end_night("one", "promoted", "it was")
    assert (again.decision, again.why, again.ended) == ("kept", "it was not better", ended)


def test_a_night_trains_one_policy_and_is_decided_by_one_batch(catalog: Catalog) -> None:
    rows = [policy(f"bc-{number}", number) for number in (1, 2)]
    catalog.add(*rows)
    begun(catalog)
    catalog.night_trained("one", rows[0].id)
    catalog.night_trained("one", rows[0].id)
    with pytest.raises(Refused, match="has trained"):
        catalog.night_trained("one", rows[1].id)
    for name in ("first", "second"):
        batch = Batch(id=name, task="reach", station="franka-sim", seed=0, planned=1)
        catalog.plan(batch, [Trial(batch=name, turn=0, task="reach", policy=rows[0].id)])
    catalog.night_tries("one", "first")
    catalog.night_tries("one", "first")
    with pytest.raises(Refused, match="is decided by batch 'first' already"):
        catalog.night_tries("one", "second")
    assert (catalog.night("one").candidate, catalog.night("one").batch) == (rows[0].id, "first")


def test_a_night_promotes_once_and_only_over_the_champion_it_measured_against(catalog: Catalog) -> None:
    old, new, other = (policy(f"bc-{number}", number) for number in (1, 2, 3))
    catalog.add(old, new, other)
    catalog.promote(old, "ada")
    begun(catalog)
    first = promoted(catalog, new, "one", old)
    assert promoted(catalog, new, "one", old).id == first.id
    catalog.promote(other, "mika")
    assert promoted(catalog, new, "one", old).id == first.id, "asked again, it does not overrule mika"
    catalog.end_night("one", "promoted", "better")
    begun(catalog, "two")
    with pytest.raises(Refused, match="bc-3 is the champion of 'reach' by now"):
        promoted(catalog, new, "two", old)
    assert [row.policy for row in catalog.promotions("reach")] == [old.id, new.id, other.id]


def test_a_night_that_somebody_has_ended_promotes_nothing_any_more(catalog: Catalog) -> None:
    new = policy()
    catalog.add(new)
    begun(catalog)
    catalog.end_night("one", "failed", "ada: the lamp was off")
    with pytest.raises(Refused, match="night 'one' has ended: ada: the lamp was off"):
        promoted(catalog, new, "one", None)
    assert catalog.champion("reach") is None


def test_a_promotion_that_names_no_night_is_none(catalog: Catalog) -> None:
    row = policy()
    catalog.add(row)
    with pytest.raises(Refused, match="the evidence names none"):
        catalog.promote_once(Promotion(task="reach", policy=row.id, kind="promoted", by="ada"), None)
