"""A cell that is no longer the one demonstrations were recorded at is told, and in what; one that is, is not."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.twin.table import FrankaTable
from ops.drift import Picture
from ops.rig import LOOKED, Recorded, Rig, some
from storage import Episode, EpisodeWriter, Jpeg

CALIBRATED = {1: {"fx": 600.0, "pose": [0.5, 0.0, 1.0]}, 2: {"fx": 601.0, "pose": [0.501, 0.0, 1.0]}}


@pytest.fixture(scope="module")
def views() -> dict[str, Picture]:
    """What the twin's front camera sees of some starts, and of some that were changed on purpose."""
    asked: dict[str, dict[str, Any]] = {str(seed): {"seed": seed} for seed in range(5)} | {
        "bumped": {"seed": 9, "camera": 1},
        "dark": {"seed": 9, "lighting": 1},
    }
    found = {}
    table = FrankaTable()
    with ExitStack() as stack:
        stack.enter_context(table)
        front = next(device for device in table.watching if device.name == "front")
        for name, condition in asked.items():
            table.arrange(condition)
            table.clock.sleep_until(table.clock.now() + 200_000_000)
            found[name] = np.array(front.read(0)["rgb"][-1])
    return found


def recorded(picture: Picture, **more: Any) -> Recorded:
    said: dict[str, Any] = {"serials": {"front": "A1"}, "calibrations": {"front": 1}, "delays": {"front": (0.02, 0.01)}}
    return Recorded({"front": picture}, **(said | more))


@pytest.fixture
def rig(views: dict[str, Picture]) -> Rig:
    return Rig([recorded(views[str(seed)]) for seed in range(4)], CALIBRATED)


def test_a_cell_that_is_as_it_was_differs_in_nothing(rig: Rig, views: dict[str, Picture]) -> None:
    assert rig.differs(recorded(views["4"]), {"front"}) == []


def test_a_bumped_camera_is_told_in_pixels_unless_it_was_meant(rig: Rig, views: dict[str, Picture]) -> None:
    (found,) = rig.differs(recorded(views["bumped"]), {"front"})
    assert found.startswith("the view of front has moved by ")
    assert rig.differs(recorded(views["bumped"]), {"front"}, {"camera"}) == []
    assert rig.differs(recorded(views["bumped"]), set()) == []


def test_a_room_that_is_darker_is_told_unless_it_was_meant(rig: Rig, views: dict[str, Picture]) -> None:
    (found,) = rig.differs(recorded(views["dark"]), {"front"})
    assert "sees all darker than any demonstration: 6" in found
    assert rig.differs(recorded(views["dark"]), {"front"}, {"lighting"}) == []


def test_a_view_of_something_else_is_told(rig: Rig) -> None:
    noise = np.random.default_rng(0).integers(90, 230, (96, 96, 3)).astype("u1")
    assert rig.differs(recorded(noise), {"front"}) == ["the view of front is not the one of any demonstration"]


def test_views_that_never_looked_alike_tell_nothing(views: dict[str, Picture]) -> None:
    """A camera on a hand that began elsewhere every time."""
    dice = np.random.default_rng(0)
    strewn = [dice.integers(100, 200, (96, 96, 3)).astype("u1") for _ in range(3)]
    rig = Rig([recorded(one) for one in strewn], CALIBRATED)
    assert rig.differs(recorded(dice.integers(100, 200, (96, 96, 3)).astype("u1")), {"front"}) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"serials": {"front": "B2"}}, "front is B2, and was A1"),
        ({"calibrations": {"front": 3}}, "front is calibrated otherwise than any demonstration was: fx"),
        ({"delays": {"front": (0.07, 0.01)}}, "front arrives after 70 ms, and did after 20 ms"),
    ],
)
def test_another_device_calibration_or_delay_is_told(
    rig: Rig, views: dict[str, Picture], changed: dict[str, Any], words: str
) -> None:
    rig = replace(rig, values={**CALIBRATED, 3: {"fx": 640.0, "pose": [0.5, 0.0, 1.0]}})
    assert rig.differs(recorded(views["4"], **changed), {"front"}) == [words]


def test_a_calibration_anew_that_says_nearly_the_same_is_the_same(rig: Rig, views: dict[str, Picture]) -> None:
    assert rig.differs(recorded(views["4"], calibrations={"front": 2}), {"front"}) == []


def test_rows_that_are_far_apart_may_come_later_by_as_much(rig: Rig, views: dict[str, Picture]) -> None:
    assert rig.differs(recorded(views["4"], delays={"front": (0.07, 0.1)}), {"front"}) == []


def test_a_camera_that_gave_nothing_or_other_sizes_is_told(rig: Rig, views: dict[str, Picture]) -> None:
    assert rig.differs(replace(recorded(views["4"]), pictures={}), {"front"}) == ["front gave no picture"]
    small = np.ascontiguousarray(views["4"][:48])
    assert rig.differs(recorded(small), {"front"}) == ["front gives pictures of 96 x 48, and gave 96 x 96"]


def test_it_is_read_from_an_episode(tmp_path: Path, views: dict[str, Picture]) -> None:
    layout = np.dtype([("t", "<i8"), ("received", "<i8"), ("seq", "<i8"), ("rgb", "u1", (96, 96, 3))])
    rows: Any = np.zeros(3, layout)
    rows["t"], rows["rgb"] = np.arange(3) * 10**8, views["1"]
    rows["received"] = rows["t"] + 30_000_000
    said = {"task": "reach", "serials": {"front": "A1"}, "calibrations": {"front": 1}}
    with EpisodeWriter(tmp_path, {"front": layout}, said, Jpeg(quality=95)) as writer:
        writer.append("front", rows)
        sealed = writer.seal({})
    found = Recorded.of(Episode(sealed.path))
    assert (found.serials, found.calibrations, found.delays) == ({"front": "A1"}, {"front": 1}, {"front": (0.03, 0.1)})
    assert np.abs(found.pictures["front"].astype(int) - views["1"]).mean() < 4


def test_few_episodes_of_many_are_looked_at_the_first_and_the_newest_among_them() -> None:
    many = list(range(100))
    assert len(some(many)) == LOOKED
    assert (some(many)[0], some(many)[-1]) == (0, 99)
    assert some(many[:3]) == [0, 1, 2]
