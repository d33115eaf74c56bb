"""What was calibrated badly, by whom, with which camera: all that learned from it is found, to the last child."""

from contextlib import closing
from uuid import uuid4

import pytest

from storage import Calibration, Catalog, EditKind, Outcome, Refused, StationRow, Task, Unknown, Wanted, WorkOrder
from storage.engine import Database
from storage.recall import learned_from
from tests.said import edit, episode, policy, streams, verdict


@pytest.fixture
def family(catalog: Catalog) -> Catalog:
    """Two cells, two calibrations, two snapshots, and three generations of policies.

    bc-1 (both episodes) -> bc-2 (the second episode) -> bc-3 (nothing of its own); bc-4 (the second) stands alone.
    """
    for station in ("cell", "bench"):
        catalog.calibrate(Calibration(station=station, device="front", values={"fx": 600}, by="ada"))
    one = episode(0, operator="ada", station="cell")
    two = episode(1, operator="bob", station="bench")
    catalog.add(one, two, *streams(one, front=1), *streams(two, front=2, wrist=None))
    both = catalog.snapshot("reach", catalog.find(Wanted()), "both")
    second = catalog.snapshot("reach", catalog.find(Wanted(operator="bob")), "the second")
    first = policy("bc-1", 1, snapshot=both.id)
    child = policy("bc-2", 2, snapshot=second.id, parent=first.id)
    catalog.add(first, child, policy("bc-3", 3, parent=child.id), policy("bc-4", 4, snapshot=second.id))
    return catalog


def test_a_recall_follows_snapshots_policies_and_their_descendants(family: Catalog) -> None:
    found = family.recall(calibration=1)
    assert [one.row.operator for one in found.episodes] == ["ada"]
    assert [one.query for one in found.snapshots] == ["both"]
    assert [one.name for one in found.policies] == ["bc-1", "bc-2", "bc-3"]


def test_a_recall_goes_by_calibration_device_operator_station_or_episode(family: Catalog) -> None:
    (one,) = family.recall(operator="ada").episodes
    for ask in ({"operator": "ada"}, {"station": "cell"}, {"episode": one.row.id.hex[:8]}, {"calibration": 1}):
        assert family.recall(**ask) == family.recall(episode=one.row.id)
    wrist = family.recall(device="wrist")
    assert wrist == family.recall(device="SN-wrist")
    assert [one.query for one in wrist.snapshots] == ["both", "the second"]
    assert [one.name for one in wrist.policies] == ["bc-1", "bc-2", "bc-3", "bc-4"]
    assert len(family.recall(device="front").episodes) == 2


def test_very_many_episodes_are_followed_at_once_as_one_by_one(family: Catalog, where: str) -> None:
    one, two = (found.row.id for found in family.find(Wanted()))
    for asked in ([one], [two], [one, two, two], [uuid4()], []):
        single = [family.recall(episode=key) for key in asked if family.known([key])]
        found = family.learned_from(asked)
        assert {held.id for held in found.snapshots} == {held.id for touched in single for held in touched.snapshots}
        assert {row.name for row in found.policies} == {row.name for touched in single for row in touched.policies}
    found = family.learned_from([one, two])
    assert found.snapshots == sorted(found.snapshots, key=lambda held: held.created)
    assert [row.name for row in found.policies] == ["bc-1", "bc-2", "bc-3", "bc-4"]
    with closing(Database(where)) as database, database.read() as session:
        assert learned_from(session, [one, two], at_once=1) == found


def test_what_was_retired_and_purged_is_still_recalled(family: Catalog) -> None:
    (one,) = family.recall(calibration=1).episodes
    family.edit(edit(one.row, EditKind.RETIRE), edit(one.row, EditKind.PURGE))
    assert [one.name for one in family.recall(calibration=1).policies] == ["bc-1", "bc-2", "bc-3"]


def test_a_recall_of_nothing_or_of_nobody_is_refused(family: Catalog) -> None:
    with pytest.raises(Refused, match="recall what"):
        family.recall()
    with pytest.raises(Unknown, match="there is no calibration '3'; there are: 1, 2"):
        family.recall(calibration=3)
    with pytest.raises(Unknown, match="there is no device 'frnt'; there are: arm, front, wrist"):
        family.recall(device="frnt")
    with pytest.raises(Unknown, match="there is no operator 'eve'; there are: ada, bob"):
        family.recall(operator="eve")
    with pytest.raises(Unknown, match="there is no station 'yard'; there are: bench, cell"):
        family.recall(station="yard")
    with pytest.raises(Unknown, match="there is no episode 'xyz'"):
        family.recall(episode="xyz")


def test_the_newest_calibration_of_each_device_is_in_force_at_its_station(catalog: Catalog) -> None:
    def made(station: str, device: str, **values: float) -> Calibration:
        return catalog.calibrate(Calibration(station=station, device=device, values=values, by="ada"))

    first, wrist, elsewhere = made("cell", "front", fx=1.0), made("cell", "wrist"), made("bench", "front")
    again = made("cell", "front", fx=2.0)
    assert catalog.in_force("cell") == {"front": again, "wrist": wrist}
    assert catalog.in_force("yard") == {}
    assert catalog.calibrations("cell") == [first, wrist, again]
    assert catalog.calibrations()[2] == elsewhere
    with pytest.raises(Refused, match="says its station, its device, and by whom"):
        made("", "front")
    row = episode()
    with pytest.raises(Unknown, match="there is no calibration '99'; there are: 1, 2, 3, 4"):
        catalog.add(row, *streams(row, front=99))


def test_a_work_order_counts_what_is_good_to_learn_from(catalog: Catalog) -> None:
    catalog.add(Task(name="stack", instruction="stack them"))
    asked = catalog.order(WorkOrder(task="reach", wanted=12, failure="DROP", condition={"side": "left"}))
    other = catalog.order(WorkOrder(task="stack", wanted=3))
    rows = [episode(minute, order=asked.id) for minute in range(5)]
    catalog.add(*rows, episode(9, order=other.id))
    catalog.add(*(verdict(row) for row in rows[:4]))
    assert catalog.order_progress(asked.id) == 4
    catalog.edit(edit(rows[0], EditKind.RETIRE), edit(rows[1], EditKind.QUARANTINE))
    assert catalog.order_progress(asked.id) == 2
    assert catalog.orders() == [asked, other]
    assert catalog.orders("reach") == [asked]
    catalog.close_order(asked.id)
    assert catalog.orders() == [other]
    assert [one.id for one in catalog.orders(closed=True)] == [asked.id]
    assert [one.id for one in catalog.orders(closed=None)] == [asked.id, other.id]
    (closed,) = catalog.orders(closed=True)
    catalog.close_order(asked.id)
    assert catalog.orders(closed=True) == [closed]
    with pytest.raises(Unknown, match="there is no work order '9'; there are: 1, 2"):
        catalog.order_progress(9)
    with pytest.raises(Refused, match="at least one episode, not 0"):
        catalog.order(WorkOrder(task="reach", wanted=0))
    with pytest.raises(Unknown, match="there is no failure mode 'CLUMSY'"):
        catalog.order(WorkOrder(task="reach", wanted=1, failure="CLUMSY"))


def test_what_was_led_by_hand_and_repeated_counts_once_for_an_order(catalog: Catalog) -> None:
    """As it is learned from: alone, until the robot has done it alone with success."""
    asked = catalog.order(WorkOrder(task="reach", wanted=12))
    led = episode(1, agent="kinesthetic", order=asked.id)
    again = episode(2, agent="replay", follows=led.id, order=asked.id)
    catalog.add(led, verdict(led, Outcome.SUCCESS), again)
    assert catalog.order_progress(asked.id) == 1
    catalog.add(verdict(again, Outcome.SUCCESS))
    assert catalog.order_progress(asked.id) == 1
    catalog.edit(edit(again, EditKind.RETIRE))
    assert catalog.order_progress(asked.id) == 1
    driven = episode(3, agent="vr", order=asked.id)
    catalog.add(driven, verdict(driven, Outcome.SUCCESS))
    repeated = episode(4, agent="replay", follows=driven.id, order=asked.id)
    catalog.add(repeated, verdict(repeated, Outcome.SUCCESS))
    assert catalog.order_progress(asked.id) == 3


def test_an_operator_is_known_from_the_first_episode_that_names_them(catalog: Catalog) -> None:
    catalog.add(episode(3, operator="ada"), episode(5, operator="ada"), episode(4), episode(6, operator="bob"))
    assert [(one.name, one.since.minute) for one in catalog.operators()] == [("ada", 3), ("bob", 6)]


def test_a_station_file_is_kept_once_per_content(catalog: Catalog) -> None:
    for _ in range(2):
        catalog.add(StationRow(digest="a1", name="cell", text="hz = 30"))
    catalog.add(StationRow(digest="b2", name="cell", text="hz = 60"), StationRow(digest="c3", name="bench", text=""))
    assert [one.text for one in catalog.stations("cell")] == ["hz = 30", "hz = 60"]
    assert len(catalog.stations()) == 3
    with pytest.raises(Refused, match="station a1 is in the catalog already, and differs in text"):
        catalog.add(StationRow(digest="a1", name="cell", text="hz = 90"))
