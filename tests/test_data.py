"""Training sees exactly what the agent sees, never what came later, and says when there is nothing to see."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drivers import Rows, row_type, sensed
from learners import NoData, Senses, Windows
from learners.body import ONE_ARM
from learners.data import Batch, next_keys
from learners.loading import fetched, loader
from learners.transforms import VIEWS, axes
from storage import Episode, Jpeg, Observation, Stale
from storage.pictures import Pictures, cached
from tests.lessons import INSTRUCTION, SECOND, arm_rows, camera_rows, record, squares
from tests.takes import Take

SENSES = Senses(("front", "wrist"), image=16, history=4, spacing=0.05)
MS = 1_000_000
STEPS = 5


def stamps(start: float, end: float, hz: float) -> NDArray[np.int64]:
    """Moments in nanoseconds, from seconds."""
    return np.arange(round(start * SECOND), round(end * SECOND), round(SECOND / hz))


def devices(seconds: float = 2.0, seed: int = 0) -> tuple[Rows, dict[str, Rows]]:
    """An arm at 100 Hz and two cameras with rates of their own, none of them in step."""
    arm = arm_rows(stamps(1.0, 1.0 + seconds, 100), seed)
    front = camera_rows(stamps(1.013, 1.0 + seconds, 30), seed + 1)
    return arm, {"front": front, "wrist": camera_rows(stamps(1.031, 1.0 + seconds, 17), seed + 2)}


def delayed(rows: Rows, nanoseconds: int) -> Rows:
    """The same rows, each received so long after it was measured."""
    kind, names = rows.dtype, rows.dtype.names or ()
    later: Rows = np.zeros(len(rows), sensed(*((name, kind[name].base, kind[name].shape) for name in names[1:])))
    for name in names:
        later[name] = rows[name]
    later["received"] = rows["t"] + nanoseconds
    return later


def first_moment(arm: Rows, cameras: dict[str, Rows]) -> int:
    """When everything has been seen."""
    return max(int(rows["t"][0]) for rows in (arm, *cameras.values()))


def cut(paths: Sequence[Path], senses: Senses = SENSES, hz: float = 50, view: str = "tool") -> Windows:
    episodes = [Episode(path) for path in paths]
    return Windows.of(episodes, [f"{INSTRUCTION} {i}" for i in range(len(paths))], senses, VIEWS[view], hz, STEPS)


def inputs(data: Windows, index: Any) -> tuple[torch.Tensor, torch.Tensor]:
    batch = data.batch(np.atleast_1d(np.asarray(index)))
    return batch.images, batch.state


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


def test_a_frame_is_made_smaller_by_averaging_the_pixels_it_covers() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), dtype="u1")
    small = replace(SENSES, image=16).fit(list(frames))
    expected = frames.reshape(3, 16, 2, 16, 3, 3).mean((2, 4))
    assert np.abs(small - expected).max() <= 0.5
    one = np.zeros((1, 32, 32, 3), "u1")
    one[0, 5, 5] = 200
    assert replace(SENSES, image=8).fit(list(one)).sum() in (36, 39), "a small thing was lost"


def test_a_frame_of_the_right_size_is_left_alone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype="u1")
    np.testing.assert_array_equal(SENSES.fit(list(frames)), frames)
    np.testing.assert_array_equal(replace(SENSES, image=None).fit(list(frames[:, :9])), frames[:, :9])


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


@pytest.mark.parametrize("size", [16, 12, 20, 48, None])
def test_frames_kept_exactly_look_the_same_live_and_in_training_at_every_size(size: int | None, tmp_path: Path) -> None:
    senses = replace(SENSES, image=size)
    arm, cameras = devices()
    episode = Episode(record(tmp_path, arm, cameras, np.array([2 * SECOND])).path)
    seen = next(episode.replay(memory=64))
    data = cut([episode.path], senses, hz=1000)
    number = (2 * SECOND - first_moment(arm, cameras)) // MS
    assert torch.equal(inputs(data, number)[0], senses.live(seen)[0])


def test_a_jpeg_differs_from_what_was_seen_live_by_little(tmp_path: Path) -> None:
    """Soft shapes with the noise of a sensor: made smaller, they differ by less than JPEG itself loses."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    waves = [128 + 90 * np.sin(x / a + y / b + c) for a, b, c in ((9, 14, 0), (23, 8, 1), (15, 31, 2))]
    shown = np.clip(np.stack(waves, -1) + random.normal(0, 2, (96, 128, 3)), 0, 255).astype("u1")
    arm, cameras = devices()
    camera = np.zeros(len(cameras["front"]), row_type(("rgb", "u1", (96, 128, 3))))
    camera["t"], camera["rgb"] = cameras["front"]["t"], shown
    senses = replace(SENSES, cameras=("front",), image=40)
    paths = [record(tmp_path, arm, {"front": camera}, codec=Jpeg()).path]
    data = cut(paths, senses)
    live = senses.fit([shown])[0].transpose(2, 0, 1).astype(int)
    off = np.abs(inputs(data, 0)[0][0, 0].numpy() - live)
    lost = np.abs(
        inputs(cut(paths, replace(senses, image=None)), 0)[0][0, 0].numpy().transpose(1, 2, 0) - shown.astype(int)
    )
    assert 0.5 < off.mean() < 1.5 < lost.mean()
    assert np.percentile(off, 99) <= 6


def test_pictures_are_unpacked_only_when_a_batch_asks_for_them(tmp_path: Path) -> None:
    """Frames that are no pictures any more do not disturb the cutting; the batch that needs one says so."""
    arm, cameras = devices()
    path = record(tmp_path, arm, cameras).path
    footer = 16 * len(cameras["front"]) + 4
    whole = next(file for file in (path / "front" / "rgb" / "c").rglob("0") if file.is_file())
    content = whole.read_bytes()
    whole.write_bytes(bytes(len(content) - footer) + content[-footer:])
    data = cut([path])
    for workers in (0, 2):
        with pytest.raises(Exception, match=r"(?i)zstd"):
            next(loader(data, 4, 0, workers))


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


def same(one: Batch, another: Batch) -> None:
    """Two batches, bit for bit, but for the instructions."""
    for name, value in vars(one).items():
        other = getattr(another, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, other), name
        elif name != "instructions":
            assert value == other, name


def test_the_frame_a_while_ahead_is_the_one_seen_then_and_the_last_when_it_is_over(tmp_path: Path) -> None:
    arm, cameras = devices()
    path = record(tmp_path, arm, cameras).path
    data, plain = cut([path], replace(SENSES, ahead=0.5), hz=10), cut([path], hz=10)
    every = np.arange(len(data))
    seen, known = data.batch(every), plain.batch(every)
    assert torch.equal(seen.images, known.images)
    assert known.later is None
    assert seen.later is not None
    assert seen.later_past_end is not None
    assert torch.equal(seen.later[:-5], seen.images[5:])
    at = first_moment(arm, cameras) + every * (SECOND // 10)
    np.testing.assert_array_equal(seen.later_past_end, at + SECOND // 2 > arm["t"][-1])
    past = seen.later[seen.later_past_end]
    assert 4 <= len(past) <= 6
    assert torch.equal(past, past[-1:].expand_as(past))
    last = Observation(int(arm["t"][-1]), {"arm": arm, **cameras})
    assert torch.equal(past[0], SENSES.live(last)[0][0])


def test_a_silence_in_an_episode_is_told_with_its_name(tmp_path: Path) -> None:
    arm, cameras = devices()
    silent = arm[(arm["t"] < 2 * SECOND) | (arm["t"] > 2 * SECOND + 300 * MS)]
    path = record(tmp_path, silent, cameras).path
    with pytest.raises(NoData, match=rf"{path.name}: nothing within 250000000 ns before .*; trim it or retire it"):
        cut([path])


def test_cameras_of_different_sizes_need_one_to_be_brought_to(tmp_path: Path) -> None:
    arm, cameras = devices()
    small = np.zeros(len(cameras["wrist"]), row_type(("rgb", "u1", (8, 8, 3))))
    small["t"] = cameras["wrist"]["t"]
    path = record(tmp_path, arm, cameras | {"wrist": small}).path
    assert inputs(cut([path]), 0)[0].shape == (1, 2, 3, 16, 16)
    with pytest.raises(NoData, match=r"cameras give pictures of \[\(8, 8, 3\), \(24, 40, 3\)\]; ask for one size"):
        cut([path], replace(SENSES, image=None))


def test_a_cache_gives_the_same_windows_and_keeps_only_what_they_show(tmp_path: Path) -> None:
    each = [record(tmp_path / str(i), *devices(1.0, seed=10 * i)).path for i in range(3)]
    kept: dict[str, int] = {}

    def pixels(camera: str, pictures: Pictures) -> Any:
        kept[camera] = len(pictures)
        return cached(tmp_path / "cache", camera, pictures)

    plain = cut(each, hz=5)
    data = Windows.of([Episode(p) for p in each], [""] * 3, SENSES, VIEWS["tool"], 5, STEPS, pixels=pixels)
    every = np.arange(len(data))[::-1]
    same(data.batch(every), plain.batch(every))
    assert kept == {"front": len(data), "wrist": len(data)}, "30 frames a second, of which 5 are seen"


@pytest.fixture
def data(tmp_path: Path) -> Windows:
    return cut([record(tmp_path / str(i), *devices(1.0, seed=10 * i)).path for i in range(3)], hz=10)


def numbered(data: Windows) -> Windows:
    """The same windows, whose key frames tell their numbers."""
    return replace(data, key=np.arange(len(data), dtype="f4")[:, None].repeat(9, 1))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_window_comes_once_in_a_pass_whatever_the_number_of_workers(workers: int, data: Windows) -> None:
    assert len(data) == 30
    for batch in (3, 10):
        batches = loader(numbered(data), batch, 5, workers)
        passes = [
            np.concatenate([each.key[:, 0].numpy() for each in islice(batches, 30 // batch)]).astype(int)
            for _ in range(3)
        ]
        assert [sorted(each) for each in passes] == [list(range(30))] * 3
        assert len({tuple(each) for each in passes}) == 3
        batches.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_neither_the_order_nor_a_byte(workers: int, data: Windows) -> None:
    alone, helped = loader(data, 4, 7, steps=20), loader(data, 4, 7, workers, steps=20)
    for one, another in zip(alone, helped, strict=True):
        same(one, another)
        assert one.instructions == another.instructions


def test_a_pass_that_does_not_fill_its_last_batch_shows_no_window_twice(data: Windows) -> None:
    seen = [int(number) for each in loader(numbered(data), 4, 0, steps=7) for number in each.key[:, 0]]
    assert len(seen) == len(set(seen)) == 28


def test_another_seed_is_another_order_and_the_same_one_the_same(data: Windows) -> None:
    def drawn(seed: int) -> list[float]:
        return [float(number) for each in loader(numbered(data), 9, seed, steps=3) for number in each.key[:, 0]]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.mark.parametrize("workers", [0, 2])
def test_whoever_begins_later_sees_what_would_have_come(workers: int, data: Windows) -> None:
    whole = list(loader(data, 4, 3, steps=17))
    for one, another in zip(whole[10:], loader(data, 4, 3, workers, first=10, steps=17), strict=True):
        same(one, another)


def test_only_some_windows_and_only_a_share_of_each_batch(data: Windows) -> None:
    learn = np.arange(5, 25)
    halves = [loader(numbered(data), 4, 3, learn=learn, share=slice(place, None, 2), steps=5) for place in range(2)]
    seen = [sorted(int(n) for each in half for n in each.key[:, 0]) for half in halves]
    assert [len(each) for each in seen] == [10, 10]
    assert sorted(seen[0] + seen[1]) == learn.tolist()


def test_leaving_early_leaves_neither_thread_nor_process(data: Windows) -> None:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    before = threading.enumerate(), children.read_text()
    batches = loader(data, 4, 0, 3)
    next(batches)
    assert len(threading.enumerate()) > len(before[0])
    batches.close()
    assert (threading.enumerate(), children.read_text()) == before


def test_only_a_few_batches_are_prepared_ahead(data: Windows) -> None:
    asked: list[int] = []

    def picks() -> Iterator[NDArray[np.intp]]:
        for number in range(30):
            asked.append(number)
            yield np.array([number])

    batches = fetched(data, picks(), workers=2)
    for number in range(1, 4):
        next(batches)
        assert len(asked) == number + 4
    batches.close()


def test_leaving_does_not_wait_for_what_nobody_began(data: Windows) -> None:
    asked: list[int] = []
    go = threading.Event()

    class Slow(Windows):
        def batch(self, index: NDArray[np.intp]) -> Batch:
            asked.append(len(index))
            if len(asked) > 1:
                go.wait()
            return super().batch(index)

    batches = loader(Slow(**vars(data)), 2, 0, 1)
    next(batches)
    timer = threading.Timer(0.2, go.set)
    timer.start()
    batches.close()
    timer.join()
    assert len(asked) <= 2
