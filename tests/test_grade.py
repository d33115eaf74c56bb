"""A recording is graded by what is in it: silence, loss, pictures out of step with the robot, late ticks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage import Episode, EpisodeWriter, recover
from storage.grade import Demands, Grade, below, grade
from storage.timeline import Rows

MS = 1_000_000
PLAIN = np.dtype([("t", "<i8"), ("force", "<f4")])
SENSED = np.dtype([("t", "<i8"), ("received", "<i8"), ("seq", "<i8")])
ROBOT = np.dtype([("t", "<i8"), ("q_target", "<f8", (7,))])
CAMERA = np.dtype([("t", "<i8"), ("received", "<i8"), ("seq", "<i8"), ("rgb", "u1", (8, 8, 3))])
TICKS = np.dtype([("t", "<i8"), ("late", "<i8")])


def at(dtype: np.dtype[np.void], *milliseconds: float, seq: list[int] | None = None, delay: float = 0) -> Rows:
    """Rows measured at these times, and received so much later."""
    rows = np.zeros(len(milliseconds), dtype)
    rows["t"] = np.array(milliseconds) * MS
    if "received" in (dtype.names or ()):
        rows["received"] = rows["t"] + round(delay * MS)
        rows["seq"] = range(len(rows)) if seq is None else seq
    return rows


def ticks(*late: float) -> Rows:
    """Ticks a hundredth of a second apart, so many milliseconds late."""
    rows = at(TICKS, *range(0, 10 * len(late), 10))
    rows["late"] = np.array(late) * MS
    return rows


def test_a_number_that_was_left_out_is_a_row_that_was_lost() -> None:
    found = grade({"arm": at(SENSED, 0, 10, 40, 50, seq=[7, 8, 11, 12])})
    assert found.lost == found.streams["arm"].lost == pytest.approx(100 * 2 / 6)


def test_a_device_that_counts_anew_lost_nothing_by_it() -> None:
    assert grade({"arm": at(SENSED, 0, 10, 20, 30, seq=[100, 101, 0, 1])}).lost == 0


def test_without_numbers_loss_is_told_from_pauses() -> None:
    found = grade({"arm": at(PLAIN, 0, 10, 20, 50, 60, 71, 80)})
    assert found.lost == pytest.approx(100 * 2 / 9)


def test_rows_that_come_a_little_early_or_late_are_not_lost() -> None:
    shaken = [10 * i + (3 if i % 3 == 1 else 0) for i in range(30)]
    assert grade({"arm": at(PLAIN, *shaken)}).lost == 0


def test_stamps_that_stand_still_do_not_tell_a_period() -> None:
    assert grade({"arm": at(PLAIN, 5, 5, 5, 5)}).lost is None


def test_the_largest_gap_is_that_of_the_worst_sensor() -> None:
    found = grade({"arm": at(PLAIN, *range(0, 401, 10)), "front": at(SENSED, 0, 33, 343, 376, 400, seq=[*range(5)])})
    assert found.gap == pytest.approx(0.31)
    assert found.streams["arm"].gap == pytest.approx(0.01)
    assert found.streams["front"].gap == pytest.approx(0.31)


def test_a_sensor_that_falls_silent_before_the_end_or_begins_late_has_a_gap() -> None:
    found = grade({"arm": at(PLAIN, *range(0, 1001, 10)), "front": at(PLAIN, 200, 250, 300)})
    assert found.streams["front"].gap == pytest.approx(0.7)
    assert grade({"arm": at(PLAIN, 0, 500), "front": at(PLAIN, 450, 500)}).streams["front"].gap == pytest.approx(0.45)


def test_a_sensor_that_gave_nothing_while_others_did_lost_everything() -> None:
    found = grade({"arm": at(PLAIN, *range(0, 101, 10)), "front": at(SENSED)})
    assert (found.streams["front"].rows, found.streams["front"].hz) == (0, None)
    assert found.lost == 100
    assert found.gap == pytest.approx(0.1)


def test_one_row_tells_of_silence_and_not_of_loss() -> None:
    found = grade({"arm": at(PLAIN, 0, 100), "front": at(PLAIN, 30)})
    assert found.streams["front"].gap == pytest.approx(0.07)
    assert found.streams["front"].lost is None
    assert grade({"front": at(SENSED, 30)}) == Grade(0.0, 0.0, None, None, grade({"front": at(SENSED, 30)}).streams)


def test_what_the_loop_writes_itself_is_no_sensor() -> None:
    found = grade({"arm": at(PLAIN, 0, 10, 20), "action": at(ROBOT, 0, 900), "ticks": ticks(0, 0)})
    assert found.gap == pytest.approx(0.01)
    assert (found.streams["action"].rows, found.streams["action"].gap, found.streams["action"].lost) == (2, None, None)


def test_of_nothing_nothing_is_said() -> None:
    for taken in ({}, {"arm": at(PLAIN)}, {"ticks": at(TICKS)}):
        found = grade(taken)
        assert (found.gap, found.lost, found.skew, found.late) == (None, None, None, None)
        assert below(found, Demands(0, 0, 0, 0)) == []


def test_the_rate_is_that_of_what_came() -> None:
    assert grade({"arm": at(PLAIN, *range(0, 101, 10))}).streams["arm"].hz == pytest.approx(100)


def test_skew_is_between_the_newest_picture_and_the_newest_row_of_the_robot() -> None:
    taken = {"front": at(CAMERA, *range(0, 991, 30)), "arm": at(ROBOT, *range(0, 991, 10)), "ticks": ticks(*[0] * 100)}
    assert grade(taken).skew == pytest.approx(0.02)
    assert grade(taken | {"wrist": at(CAMERA, *range(0, 991, 50))}).skew == pytest.approx(0.04)


def test_a_picture_counts_from_when_it_arrived() -> None:
    taken = {"arm": at(ROBOT, *range(0, 991, 10)), "ticks": ticks(*[0] * 100)}
    assert grade(taken | {"front": at(CAMERA, *range(0, 991, 30), delay=25)}).skew == pytest.approx(0.05)


def test_one_tick_in_a_hundred_may_be_worse() -> None:
    taken = {"front": at(CAMERA, *range(0, 991, 10)), "arm": at(ROBOT, *range(0, 991, 10)), "ticks": ticks(*[0] * 100)}
    missing = at(CAMERA, *[t for t in range(0, 991, 10) if t != 500])
    assert grade(taken | {"front": missing}).skew == 0
    late = [0.0] * 98 + [3.0, 9.0]
    assert grade({"ticks": ticks(*late)}).late == pytest.approx(0.003)


def test_the_rate_of_a_take_is_that_of_ticks_when_they_came() -> None:
    evenly, stalled = grade({"ticks": ticks(*[0] * 100)}), grade({"ticks": ticks(*range(100))})
    assert evenly.rate is not None
    assert stalled.rate == pytest.approx(1e3 / (1e3 / evenly.rate + 1)), "a millisecond later every time"
    assert below(evenly, Demands(rate=evenly.rate)) == []
    assert below(stalled, Demands(rate=evenly.rate))[0].startswith("something new ")
    assert grade({"ticks": ticks(0)}).rate is None


def test_without_robot_camera_or_ticks_there_is_no_skew() -> None:
    taken = {"front": at(CAMERA, 0, 30), "arm": at(ROBOT, 0, 30), "ticks": ticks(0, 0, 0)}
    assert grade(taken).skew == 0
    for missing in taken:
        assert grade({name: rows for name, rows in taken.items() if name != missing}).skew is None
    assert grade(taken | {"front": at(CAMERA)}).skew is None
    assert grade(taken | {"front": at(CAMERA, 500)}).skew is None


SHORT = grade(
    {
        "front": at(CAMERA, 0, 310, seq=[0, 3]),
        "arm": at(ROBOT, *range(0, 311, 10)),
        "ticks": ticks(*[20] * 32),
    }
)


def test_what_falls_short_is_said_in_words() -> None:
    assert below(SHORT, Demands(gap=0.1, lost=2, skew=0.05, late=0.01)) == [
        "largest gap 0.31 s of front, at most 0.10 s",
        "50.0 % of front lost, at most 2.0 %",
        "pictures 0.300 s from the robot's rows, at most 0.050 s",
        "ticks 0.020 s late, at most 0.010 s",
    ]


def test_what_is_not_demanded_does_not_fall_short() -> None:
    assert below(SHORT, Demands()) == []
    assert below(SHORT, Demands(gap=0.31, lost=50, skew=0.3, late=0.02)) == []


@pytest.mark.parametrize(
    ("said", "helps"), [({"gaps": 1}, "no gaps; it takes gap, lost"), ({"gap": "x"}, "gap is 'x'")]
)
def test_demands_that_nobody_understands_are_refused_before_the_take(
    tmp_path: Path, said: dict[str, Any], helps: str
) -> None:
    with pytest.raises(ValueError, match=helps):
        EpisodeWriter(tmp_path, {"arm": PLAIN}, {"demands": said})


def test_a_take_is_graded_when_it_is_sealed_and_set_apart_when_it_falls_short(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": PLAIN}, {"demands": {"gap": 0.1, "skew": None}}) as writer:
        writer.append("arm", at(PLAIN, 0, 10, 320))
        episode = Episode(writer.seal().path)
    said = episode.attributes
    assert said["quarantine"] == "largest gap 0.31 s of arm, at most 0.10 s"
    assert said["grade"]["gap"] == pytest.approx(0.31)
    assert said["grade"]["streams"]["arm"] == {
        "rows": 3,
        "hz": pytest.approx(6.25),
        "gap": 0.31,
        "lost": said["grade"]["lost"],
    }
    assert said["grade"]["late"] is None


def test_a_take_without_demands_is_graded_and_not_set_apart(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": PLAIN}, {}) as writer:
        writer.append("arm", at(PLAIN, 0, 10, 320))
        said = Episode(writer.seal().path).attributes
    assert (said["grade"]["gap"], said["quarantine"]) == (0.31, "")


def test_a_take_cut_short_is_graded_by_what_is_left(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, {"arm": PLAIN, "front": CAMERA}, {"demands": {"gap": 0.1}}) as writer:
        writer.append("arm", at(PLAIN, *range(0, 400, 10)))
        writer.append("front", at(CAMERA, 0, 30, 330, 360))
    (found,) = recover(tmp_path)
    assert found.sealed is not None
    assert Episode(found.sealed.path).attributes["quarantine"] == "largest gap 0.30 s of front, at most 0.10 s"
