"""Training sees exactly what the agent sees, never what came later, and says when there is nothing to see."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from learners import NoData, Windows
from learners.body import ONE_ARM
from learners.data import next_keys
from learners.transforms import VIEWS, axes
from storage import Episode, Observation, Stale
from tests.lessons import INSTRUCTION, SECOND, record, squares
from tests.takes import Take
from tests.windowed import MS, SENSES, STEPS, cut, delayed, devices, first_moment, inputs, same


def test_a_window_is_bit_for_bit_what_the_agent_saw_at_that_tick(tmp_path: Path) -> None:
    """Through an episode on disk and its replay, with another memory than the record's."""
    arm, cameras = devices()
    start = first_moment(arm, cameras)
    ticks = np.arange(start, 3 * SECOND, SECOND // 50)
    episode = Episode(record(tmp_path, arm, cameras, ticks).path)
    data = cut([episode.path])
    replayed = list(episode.replay(memory=64))
    assert len(replayed) == len(ticks)
    assert len(data) > 90
    for number, seen in enumerate(replayed[: len(data)]):
        images, state, now = SENSES.live(seen)
        assert torch.equal(inputs(data, number)[0], images)
        np.testing.assert_array_equal(inputs(data, number)[1].numpy(), state)
        np.testing.assert_array_equal(now["tool"][0], arm["tool"][arm["t"] <= seen.t][-1])


def test_a_row_that_took_its_time_is_unknown_until_it_arrives_in_training_as_live(tmp_path: Path) -> None:
    """Pictures that come 60 ms after they were taken, and rows of the arm that come after 5 ms."""
    arm, cameras = devices()
    arm, cameras = delayed(arm, 5 * MS), {name: delayed(rows, 60 * MS) for name, rows in cameras.items()}
    start = max(int(rows["received"][0]) for rows in (arm, *cameras.values()))
    ticks = np.arange(start, 3 * SECOND, SECOND // 50)
    episode = Episode(record(tmp_path, arm, cameras, ticks).path)
    tool, joint = cut([episode.path]), cut([episode.path], view="joint")
    assert len(tool) > 80
    places = {name: {int(t): place for place, t in enumerate(rows["t"])} for name, rows in cameras.items()}
    firsts = [places[name][int(next(episode.replay(memory=64)).streams[name]["t"][-1])] for name in SENSES.cameras]
    for number, seen in enumerate(islice(episode.replay(memory=64), len(tool))):
        shown = [places[name][int(seen.streams[name]["t"][-1])] for name in SENSES.cameras]
        assert (tool.frame[number] - tool.frame[0] + firsts).tolist() == shown
        images, state, now = SENSES.live(seen)
        assert torch.equal(inputs(tool, number)[0], images)
        np.testing.assert_array_equal(inputs(tool, number)[1].numpy(), state)
        np.testing.assert_array_equal(now["tool"][0], seen.streams["arm"]["tool"][-1])
        # The plan begins where the tool was known to be, and holds what was in force, by when it was.
        ahead = np.minimum(seen.t + np.arange(1, STEPS + 1) * (SECOND // 50), arm["t"][-1])
        rows = arm[np.searchsorted(arm["t"], ahead, side="right") - 1]
        whole = number < len(tool) - STEPS
        np.testing.assert_allclose(joint.plan[[number]][0, :, :7][: STEPS * whole], rows["q_target"][: STEPS * whole])
        travel = rows["tool_target"][:, :3] - now["tool"][0][:3]
        np.testing.assert_allclose(tool.plan[[number]][0, :, :3][: STEPS * whole], travel[: STEPS * whole], atol=1e-6)


def test_the_age_of_a_picture_counts_from_when_it_was_taken(tmp_path: Path) -> None:
    arm, cameras = devices()
    cameras["front"] = delayed(cameras["front"], 240 * MS)
    with pytest.raises(NoData, match="nothing within 250000000 ns"):
        cut([record(tmp_path, arm, cameras).path])


def test_a_state_is_what_was_felt_at_the_moments_before_newest_last() -> None:
    arm, _ = devices()
    at = np.array([2 * SECOND, 2 * SECOND + 7 * MS])
    state, now = SENSES.body(arm, at)
    assert state.shape == (2, 4, ONE_ARM.width)
    for moment, states in zip(at, state, strict=True):
        for back, felt in zip((150, 100, 50, 0), states, strict=True):
            row = arm[arm["t"] <= moment - back * MS][-1]
            expected = [*row["q"], *row["tool"][:3], *axes(row["tool"][3:]), row["width"]]
            np.testing.assert_allclose(felt, expected, atol=1e-6)
            np.testing.assert_allclose(felt[ONE_ARM.tools], row["tool"][:3], atol=1e-6)
    np.testing.assert_array_equal(now["tool"][1], arm[arm["t"] <= at[1]][-1]["tool"])


def test_moments_before_the_first_row_repeat_it() -> None:
    arm, _ = devices()
    state, _ = SENSES.body(arm, arm["t"][:1] + 60 * MS)
    np.testing.assert_array_equal(state[0, 0], state[0, 1])
    assert not np.array_equal(state[0, 2], state[0, 3])


def test_windows_never_look_ahead(tmp_path: Path) -> None:
    """Whatever comes after a moment, be it one nanosecond later, changes no input of a window before it."""
    arm, cameras = devices()
    moment = first_moment(arm, cameras) + SECOND
    other, others = devices(seed=50)
    for rows, instead in ((arm, other), *((cameras[name], others[name]) for name in cameras)):
        late = rows["t"] > moment
        rows["t"][int(late.argmax())] = instead["t"][int(late.argmax())] = moment + 1
        instead[~late] = rows[~late]
    a = cut([record(tmp_path / "a", arm, cameras).path])
    b = cut([record(tmp_path / "b", other, others).path])
    before = np.arange(51)
    for one, another in zip(inputs(a, before), inputs(b, before), strict=True):
        assert torch.equal(one, another)
    for one, another in zip(inputs(a, 51), inputs(b, 51), strict=True):
        assert not torch.equal(one, another), "the moment after sees nothing new"


def test_the_plan_is_what_was_asked_of_the_robot_at_the_moments_that_followed(tmp_path: Path) -> None:
    arm, cameras = devices()
    at = first_moment(arm, cameras) + np.arange(20) * (SECOND // 10)
    joint = cut([record(tmp_path, arm, cameras).path], hz=10, view="joint")
    for number in (0, 7):
        ahead = at[number] + np.arange(1, STEPS + 1) * (SECOND // 10)
        rows = arm[np.searchsorted(arm["t"], ahead, side="right") - 1]
        np.testing.assert_allclose(joint.plan[[number]][0, :, :7], rows["q_target"], atol=1e-6)
        np.testing.assert_allclose(joint.plan[[number]][0, :, 7], rows["width_target"], atol=1e-6)
    tool = cut([record(tmp_path, arm, cameras).path], hz=10)
    rows = arm[np.searchsorted(arm["t"], at[7] + np.arange(1, STEPS + 1) * (SECOND // 10), side="right") - 1]
    here = arm[arm["t"] <= at[7]][-1]["tool"]
    np.testing.assert_allclose(tool.plan[[7]][0, :, :3], rows["tool_target"][:, :3] - here[:3], atol=1e-6)


def test_steps_past_the_end_repeat_the_last_target_and_are_marked(tmp_path: Path) -> None:
    arm, cameras = devices()
    data = cut([record(tmp_path, arm, cameras).path], hz=10, view="joint")
    start, last = first_moment(arm, cameras), int(arm["t"][-1])
    ahead = start + (np.arange(len(data))[:, None] + np.arange(1, STEPS + 1)) * (SECOND // 10)
    whole = data.batch(np.arange(len(data)))
    past_end = whole.past_end.numpy()
    np.testing.assert_array_equal(past_end, ahead > last)
    assert past_end[-1].all()
    assert not past_end[0].any()
    for step in np.argwhere(past_end):
        np.testing.assert_allclose(whole.plan[tuple(step)][:7], arm["q_target"][-1], atol=1e-6)


def test_key_frames_are_where_the_hand_next_closes_or_opens_and_then_the_end() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad").open().lift()
    arm = take.arm()
    middle = (arm["width_target"].min() + arm["width_target"].max()) / 2
    closes, opens = (np.flatnonzero(np.diff(arm["width_target"] < middle)) + 1).tolist()
    keys = next_keys(arm, arm["t"])
    for row, key in ((0, closes), (closes - 1, closes), (closes, opens), (opens - 1, opens), (opens, -1), (-1, -1)):
        np.testing.assert_allclose(keys[row, :3], arm["tool"][key, :3], atol=1e-6, err_msg=f"row {row}")
        np.testing.assert_allclose(keys[row, 3:], axes(arm["tool"][key, 3:]), atol=1e-6)
    between = arm["t"][closes - 1 : closes] + 1
    np.testing.assert_array_equal(next_keys(arm, between), keys[closes - 1 : closes])


def test_a_hand_that_begins_closed_opens_to_take_and_that_is_no_key_frame() -> None:
    take = Take().to("red_cube").close("red_cube").lift().to("yellow_pad").open().lift()
    arm = take.arm()
    usual = next_keys(arm, arm["t"])
    arm["width_target"][:3] = arm["width_target"].min()
    np.testing.assert_array_equal(next_keys(arm, arm["t"]), usual)


def test_a_hand_that_begins_closed_and_only_opens_lets_go_of_what_it_held() -> None:
    arm = Take().to("yellow_pad").open().lift().arm()
    arm["width_target"] = np.where(np.arange(len(arm)) < 30, 0.0, 0.08)
    keys = next_keys(arm, arm["t"])
    np.testing.assert_allclose(keys[0, :3], arm["tool"][30, :3], atol=1e-6)
    np.testing.assert_allclose(keys[30, :3], arm["tool"][-1, :3], atol=1e-6)


def test_a_hand_that_hardly_moves_has_no_key_frame_but_the_end() -> None:
    """Less than a centimetre in a whole take is noise, not a grasp."""
    arm = Take().go(0.5, 0.1, 0.2).arm()
    arm["width_target"] += 0.004 * (np.arange(len(arm)) % 2)
    keys = next_keys(arm, arm["t"])
    np.testing.assert_allclose(keys[:, :3], np.broadcast_to(arm["tool"][-1, :3], (len(arm), 3)), atol=1e-6)


def test_episodes_stay_apart(tmp_path: Path) -> None:
    """Each window has its own episode's frames, instruction and end."""
    each = [record(tmp_path / str(i), *devices(1.0 + i / 2, seed=10 * i)).path for i in range(3)]
    whole, alone = cut(each), [cut([path]) for path in each]
    assert len(whole) == sum(map(len, alone))
    assert np.bincount(whole.episode).tolist() == [len(data) for data in alone]
    first = 0
    for number, data in enumerate(alone):
        mine = whole.batch(np.arange(first, first + len(data)))
        theirs = data.batch(np.arange(len(data)))
        for field in ("images", "state", "plan", "past_end", "key"):
            assert torch.equal(getattr(mine, field), getattr(theirs, field)), field
        assert mine.instructions == [f"{INSTRUCTION} {number}"] * len(data)
        first += len(data)


def test_windows_are_given_in_the_order_that_was_asked(tmp_path: Path) -> None:
    data = cut([record(tmp_path, *devices()).path])
    some = data.batch(np.array([7, 3, 3]))
    for place, number in enumerate((7, 3, 3)):
        assert torch.equal(some.images[place], inputs(data, number)[0][0])
        np.testing.assert_array_equal(some.plan[place], data.plan[[number]][0])


@pytest.mark.parametrize("seed", range(5))
def test_a_split_keeps_whole_episodes_together_and_every_window_on_one_side(seed: int) -> None:
    data = squares(episodes=10, each=7)
    learn, check = data.split(0.3, seed)
    assert sorted([*learn, *check]) == list(range(70))
    assert len(set(data.episode[check])) == 3
    assert not set(data.episode[learn]) & set(data.episode[check])


def test_a_split_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    data = squares(episodes=10, each=2)
    assert [s.tolist() for s in data.split(0.3, 1)] == [s.tolist() for s in data.split(0.3, 1)]
    assert len({tuple(data.split(0.3, seed)[1]) for seed in range(5)}) > 1


def test_without_cameras_there_are_states_alone(tmp_path: Path) -> None:
    data = cut([record(tmp_path, *devices()).path], replace(SENSES, cameras=()))
    images, state = inputs(data, np.arange(4))
    assert images.shape[:2] == (4, 0)
    assert state.shape == (4, 4, ONE_ARM.width)


def test_no_episodes_are_no_data() -> None:
    with pytest.raises(NoData, match="no episodes to learn from"):
        cut([])


def test_a_missing_camera_is_named_and_so_is_what_there_is(tmp_path: Path) -> None:
    arm, cameras = devices()
    path = record(tmp_path, arm, {"front": cameras["front"]}).path
    with pytest.raises(NoData, match=r"no \['wrist'\]; it has \['arm', 'front', 'ticks'\]"):
        cut([path])


def test_a_camera_without_a_frame_is_named(tmp_path: Path) -> None:
    arm, cameras = devices()
    path = record(tmp_path, arm, cameras | {"wrist": cameras["wrist"][:0]}).path
    with pytest.raises(NoData, match=r"no rows of \['wrist'\]"):
        cut([path])


def test_an_arm_without_a_row_is_named(tmp_path: Path) -> None:
    arm, cameras = devices()
    with pytest.raises(NoData, match=r"no rows of \['arm'\]"):
        cut([record(tmp_path, arm[:0], cameras).path])


def test_episodes_too_short_for_a_single_moment_are_no_data(tmp_path: Path) -> None:
    """The camera's first frame came after the arm's last row."""
    arm, cameras = devices()
    with pytest.raises(NoData, match="no moment"):
        cut([record(tmp_path, arm[:1], cameras).path])


@pytest.mark.parametrize("silent", ["front", "arm"])
def test_a_device_that_was_silent_too_long_is_no_answer(silent: str) -> None:
    arm, cameras = devices()
    rows = {"arm": arm, **cameras}
    rows[silent] = rows[silent][rows[silent]["t"] < 2 * SECOND]
    now = 2 * SECOND + 300 * MS
    known = {name: each[each["t"] <= now] for name, each in rows.items()}
    with pytest.raises(Stale, match="nothing within"):
        SENSES.live(Observation(now, known))


def test_a_short_silence_is_bridged() -> None:
    arm, cameras = devices()
    now = int(arm["t"][-1]) + 200 * MS
    images, state, pose = SENSES.live(Observation(now, {"arm": arm, **cameras}))
    assert images.shape == (1, 2, 3, 16, 16)
    assert state.shape == (1, 4, ONE_ARM.width)
    np.testing.assert_array_equal(pose["tool"][0], arm["tool"][-1])


def test_a_trimmed_episode_gives_windows_of_what_is_kept(tmp_path: Path) -> None:
    arm, cameras = devices(3.0)
    path = record(tmp_path, arm, cameras).path
    begins = min(int(rows["t"][0]) for rows in (arm, *cameras.values()))
    keep = (0.5, 2.0)
    data = Windows.of([Episode(path, keep)], [""], SENSES, VIEWS["joint"], 50, STEPS)
    inside = {
        n: rows[(rows["t"] >= begins + SECOND // 2) & (rows["t"] <= begins + 2 * SECOND)] for n, rows in cameras.items()
    }
    part = arm[(arm["t"] >= begins + SECOND // 2) & (arm["t"] <= begins + 2 * SECOND)]
    alone = cut([record(tmp_path / "part", part, inside).path], view="joint")
    assert 60 < len(data) == len(alone)
    every = np.arange(len(data))
    same(data.batch(every), alone.batch(every))


def test_a_silence_in_an_episode_is_told_with_its_name(tmp_path: Path) -> None:
    arm, cameras = devices()
    silent = arm[(arm["t"] < 2 * SECOND) | (arm["t"] > 2 * SECOND + 300 * MS)]
    path = record(tmp_path, silent, cameras).path
    with pytest.raises(NoData, match=rf"{path.name}: nothing within 250000000 ns before .*; trim it or retire it"):
        cut([path])
