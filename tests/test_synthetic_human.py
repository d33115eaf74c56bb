"""Demonstrations by hands that nobody has: what they look like, what is true of them, and how they are marked."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.home import Home
from appliance.imagine import Dream, Dreamt, seeds, show
from collectors.human_video.episodes import head
from collectors.synthetic_human import Wish, imagine, name_of
from drivers import Rows
from drivers.kinematics import Chain
from drivers.twin import FrankaTable
from drivers.twin.human import Imagination, Imagined
from drivers.twin.human.anatomy import POINTS
from drivers.twin.human.motion import plan
from drivers.twin.human.setting import COLOURS, Setting, Unimaginable, asked, draw
from drivers.twin.scene import HOME, PLACES, places
from storage import Episode, Outcome, Task, Wanted, check
from tests.typed import Type

ASKED = "put the red cube on the yellow pad"
SMALL = Imagination(48, 86, 5.0)
SEEDS = range(40)


def truth_of(seed: int, hz: float = 30.0) -> tuple[Setting, Rows]:
    """What is true of a demonstration; nothing is drawn."""
    with replace(SMALL, hz=hz).show(ASKED, seed) as shown:
        return draw(ASKED, seed), shown.truth


def pictures(seed: int) -> NDArray[np.uint8]:
    with SMALL.show(ASKED, seed) as shown:
        return np.stack(list(shown.pictures))


def test_the_same_seed_shows_the_same_and_another_something_else() -> None:
    once = pictures(3)
    assert np.array_equal(once, pictures(3))
    assert abs(once[0].astype(float) - pictures(4)[0]).mean() > 5
    assert np.array_equal(truth_of(3)[1], truth_of(3)[1])


def test_hand_and_thing_are_seen_to_move() -> None:
    shown = pictures(3).astype(float)
    assert abs(np.diff(shown, axis=0)).mean(axis=(1, 2, 3)).max() > 3
    assert shown.std(axis=(1, 2)).min() > 10


@pytest.mark.parametrize("seed", range(5))
def test_a_thing_stands_still_until_it_is_held_then_goes_with_the_hand_and_stays_on_the_goal(seed: int) -> None:
    setting, rows = truth_of(seed)
    first, last = np.flatnonzero(rows["held"])[[0, -1]]
    at = rows["thing"][:, :3]
    assert np.ptp(at[: first + 1], axis=0).max() == pytest.approx(0, abs=1e-9)
    assert np.ptp(at[last:], axis=0).max() == pytest.approx(0, abs=1e-9)
    from_wrist = np.linalg.norm(at - rows["wrist"][:, :3], axis=1)[first : last + 1]
    assert np.ptp(from_wrist) == pytest.approx(0, abs=1e-6)
    assert at[:, 2].max() > at[0, 2] + 0.05
    assert np.linalg.norm(at[-1, :2] - rows["goal"][-1, :2]) < 0.03
    assert at[-1, 2] - setting.thing.size[2] / 2 == pytest.approx(rows["goal"][-1, 2], abs=0.001)


def test_nothing_jumps_nor_sinks_into_the_table_and_the_camera_sees_what_happens() -> None:
    for seed in SEEDS:
        setting, rows = truth_of(seed)
        for points in (rows["thing"][:, :3], rows["wrist"][:, :3], rows["camera"][:, :3]):
            assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() * 30 < 2.0, "m/s"
        assert np.isfinite(rows["points"]).all()
        assert (rows["thing"][:, 2] - setting.thing.size[2] / 2).min() > -0.001
        assert rows["points"][:, :, 2].min() > 0.004
        assert abs(_in_view(setting, rows["camera"], rows["thing"])).max() < 1


def _in_view(setting: Setting, camera: NDArray[np.float64], thing: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the thing is in the pictures, (n, 2), with edges at -1 and 1."""
    w, *v = camera[:, 3:].T
    axis, off = np.stack(v, axis=1), thing[:, :3] - camera[:, :3]
    turned = off - 2 * w[:, None] * np.cross(axis, off) + 2 * np.cross(axis, np.cross(axis, off))
    half = np.tan(np.radians(setting.fovy / 2))
    seen: NDArray[np.float64] = turned[:, :2] / -turned[:, 2:] / (half * np.array([16 / 9, 1.0]))
    return seen


def test_what_a_left_hand_does_looks_like_a_right_hand_in_the_mirror() -> None:
    right, left = draw(ASKED, 3), draw(ASKED, 3).mirrored()
    assert (right.side, left.side) == ("right", "left")
    one, other = plan(right, 5.0), plan(left, 5.0)
    seen = _in_view(right, one.head, one.thing), _in_view(left, other.head, other.thing)
    assert seen[0] == pytest.approx(seen[1] * [-1.0, 1.0], abs=1e-9)


def test_thumb_and_fingers_touch_what_they_hold_from_both_sides() -> None:
    for seed in SEEDS:
        setting, rows = truth_of(seed)
        held = rows[rows["held"]]
        tips = {name: held["points"][:, POINTS.index(f"{name}_tip")] for name in ("thumb", "index", "middle")}
        fingers = (tips["index"] + tips["middle"]) / 2
        between = np.linalg.norm(fingers - tips["thumb"], axis=1)
        skin = 0.6 * (0.0098 + 0.0077)
        assert between[len(held) // 2] == pytest.approx(setting.thing.size[1] + skin, abs=0.012), seed
        middle = (fingers + tips["thumb"]) / 2 - held["thing"][:, :3]
        assert np.linalg.norm(middle[:, :2], axis=1).max() < 0.02, seed


def test_things_differ_unless_those_of_the_task_are_asked_for() -> None:
    drawn = [draw(ASKED, seed) for seed in SEEDS]
    assert len({one.words for one in drawn}) > 30
    assert len({one.thing.kind for one in drawn}) == 5
    assert len({one.room.cloth for one in drawn if one.room}) == 5
    assert {one.side for one in drawn} == {"right", "left"}
    exact = [draw(ASKED, seed, as_asked=True) for seed in SEEDS]
    assert {one.words for one in exact} == {ASKED}
    assert len({one.thing.size for one in exact}) == len(exact)
    assert max(np.abs(np.array(one.thing.rgb) - COLOURS["red"]).max() for one in exact) < 0.25
    assert all((other.colour, other.kind) != ("red", "cube") for one in exact for other in one.others)


@pytest.mark.parametrize(
    "instruction", ["reach the pose", "put the red cube away", "put the yellow pad on the red cube"]
)
def test_what_a_hand_cannot_show_is_told_with_an_example(instruction: str) -> None:
    with pytest.raises(Unimaginable, match="like 'put the red cube on the yellow pad'"):
        asked(instruction)


WISH = Wish("pick_place", ASKED, "nobody", seed=3)


def test_an_episode_looks_like_imported_film_and_says_everywhere_that_it_is_made_up(tmp_path: Path) -> None:
    kept = imagine(SMALL, WISH, tmp_path)
    episode = Episode(kept.path)
    assert check(kept.path) == []
    assert set(episode.streams) == {"head", "truth"}
    assert episode.dtype("head") == head(48, 86)
    assert np.diff(episode["head", "t"]).tolist() == [200_000_000] * (len(episode["head", "t"]) - 1)
    assert np.array_equal(episode["truth", "thing"], truth_of(3, 5.0)[1]["thing"])
    said = episode.attributes
    assert (said["agent"], said["source"]) == ("synthetic_human", "synthetic_human")
    assert said["instruction"] == said["subtask"] == draw(ASKED, 3).words
    assert said["arms"] == [draw(ASKED, 3).side == "left", draw(ASKED, 3).side == "right"]
    assert said["synthetic_human"]["setting"]["thing"]["kind"] == draw(ASKED, 3).thing.kind


def test_the_same_wish_is_fulfilled_once(tmp_path: Path) -> None:
    assert imagine(SMALL, WISH, tmp_path).new
    assert not imagine(SMALL, WISH, tmp_path).new
    others = [replace(WISH, seed=4), replace(WISH, as_asked=True), replace(WISH, task="other")]
    assert len({name_of(SMALL, one) for one in (WISH, *others)} | {name_of(replace(SMALL, hz=10.0), WISH)}) == 5


def test_a_demonstration_that_breaks_off_leaves_nothing_behind(tmp_path: Path) -> None:
    class Fails(Imagination):
        @contextmanager
        def show(self, instruction: str, seed: int, as_asked: bool = False) -> Generator[Imagined]:
            with super().show(instruction, seed, as_asked) as shown:
                yield replace(shown, pictures=iter([np.zeros((48, 86, 3), np.uint8)]))

    with pytest.raises(ValueError, match="shorter"):
        imagine(Fails(48, 86, 5.0), WISH, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.name != "episodes"] == []


def test_several_processes_share_the_seeds_and_nobody_judges_what_they_made(home: Path) -> None:
    place = Home(home, str(home / "catalog.db"))
    with place.open() as catalog:
        catalog.add(Task(name="pick_place", instruction=ASKED))
        assert seeds(catalog, "pick_place", 3, None) == (0, 1, 2)
        told: list[Dreamt] = []
        dreaming = Dream(place, "pick_place", "nobody", (0, 1, 2), height=48, hz=5.0)

        class Never:
            def is_set(self) -> bool:
                return False

            def set(self) -> None: ...

        show(dreaming, 1, 2, Never(), told.append)
        assert [one.seed for one in told] == [1]
        assert seeds(catalog, "pick_place", 2, None) == (2, 3)
        (found,) = catalog.find(Wanted(task="pick_place", agent="synthetic_human"))
        assert found.standing.outcome is None
        assert catalog.count(Wanted(task="pick_place", outcome=Outcome.SUCCESS)) == 0


def test_imagining_is_a_command(appliance: Type) -> None:
    assert appliance("tasks", "add", "pick_place", "--instruction", ASKED).code == 0
    words = ("imagine", "--task", "pick_place", "--height", "48", "--fps", "5", "--json")
    first = appliance(*words, "--seed", "7").json
    assert (len(first["new"]), first["known"]) == (1, [])
    again = appliance(*words, "--seed", "7").json
    assert (again["new"], again["known"]) == ([], first["new"])
    assert first["new"][0][:8] in appliance("episodes", "list").out
    appliance("tasks", "add", "reach", "--instruction", "reach the pose")
    refused = appliance("imagine", "--task", "reach")
    assert refused.code == 1
    assert "must name one thing, then where it goes" in refused.err


CELL = Imagination(48, 48, 5.0, "cell")


def test_at_the_cell_a_hand_waits_where_the_robots_does_and_a_still_camera_sees_the_robots_own_table() -> None:
    with CELL.show(ASKED, 3, True) as shown:
        seen, rows = np.stack(list(shown.pictures)).astype(float), shown.truth
    assert shown.words == ASKED
    start = rows["points"][0, [POINTS.index("thumb_tip"), POINTS.index("index_tip")]].mean(axis=0)
    assert start == pytest.approx(Chain().tool(np.array(HOME))[:3], abs=0.14)
    assert np.ptp(rows["camera"], axis=0).max() == 0
    assert rows["thing"][0, :2] == pytest.approx(places({"seed": 3})["red_cube"][:2])
    assert rows["goal"][-1, :2] == pytest.approx(PLACES["yellow_pad"][:2])
    with FrankaTable(image=(48, 48)) as cell:
        cell.arrange({"seed": 3})
        cell.clock.sleep_until(200_000_000)
        front = next(device for device in cell.watching if device.name == "front")
        robot = front.read(0)["rgb"][-1].astype(float)
    table = slice(24, None)
    assert np.median(abs(seen[0, table] - robot[table])) < 1, "beside the arm, all looks the same"
    assert abs(seen[0] - robot).max() > 50


def test_at_the_cell_only_what_stands_on_the_robots_table_can_be_shown() -> None:
    said = set()
    for seed in SEEDS:
        with CELL.show(ASKED, seed) as shown:
            said.add(shown.words)
    assert said == {
        f"put the {cube} cube on the {pad} pad"
        for cube in COLOURS
        if cube in {"red", "green", "blue"}
        for pad in ("yellow", "purple")
    }
    for other in ("put the pink cube on the yellow pad", "put the red ball on the yellow pad"):
        with (
            pytest.raises(Unimaginable, match="red, green, blue cubes and yellow, purple pads"),
            CELL.show(other, 0, True),
        ):
            pass


def test_film_of_the_cell_is_not_taken_for_film_from_a_head() -> None:
    assert name_of(replace(SMALL, view="cell"), WISH) != name_of(SMALL, WISH)
