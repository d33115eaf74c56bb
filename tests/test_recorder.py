"""A recorder keeps every row it was given, in order, or says why not; and it never keeps the loop waiting."""

import itertools
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from collectors import Recorder, RecorderProcess, RecorderThread, RecordingFailed
from collectors.backlog import STREAMS as MOST
from collectors.backlog import Backlog, takes
from collectors.process import room
from collectors.writing import GATHER
from drivers import Rows, sensed
from storage import Episode, Jpeg, Lossless, check, recover

ARM = sensed(("q", "<f8", (7,)))
FRONT = sensed(("rgb", "u1", (24, 32, 3)), ("depth", "<u2", (24, 32)), ("exposure", "<f4"))
STREAMS: dict[str, np.dtype[np.void]] = {"arm": ARM, "front": FRONT}
SAID = {"task": "reach", "agent": "person", "started": "2026-01-02T03:04:05+00:00"}
SMALL = 1 << 20
"""Bytes of a backlog that is soon full."""


def arm(first: int, count: int = 10) -> Rows:
    rows = np.zeros(count, ARM)
    rows["seq"] = np.arange(first, first + count)
    rows["t"] = rows["received"] = rows["seq"] * 1_000_000
    rows["q"] = rows["seq"][:, None]
    return rows


def front(number: int) -> Rows:
    dice = np.random.default_rng(number)
    rows = np.zeros(1, FRONT)
    rows["seq"], rows["exposure"] = number, number / 2
    rows["t"] = rows["received"] = number * 10_000_000
    rows["rgb"] = dice.integers(0, 255, (24, 32, 3))
    rows["depth"] = dice.integers(0, 5000, (24, 32))
    return rows


def give(recorder: Recorder, ticks: range) -> None:
    for tick in ticks:
        recorder.append("arm", arm(10 * tick))
        recorder.append("front", front(tick))


def assert_given(path: Path, ticks: int) -> None:
    """The episode is exactly what `give` gave in so many ticks."""
    assert check(path) == []
    episode = Episode(path)
    assert np.array_equal(episode.rows("arm"), arm(0, 10 * ticks))
    assert np.array_equal(episode.rows("front"), np.concatenate([front(tick) for tick in range(ticks)]))


def process(size: int = 8 << 20) -> RecorderProcess:
    return RecorderProcess(size)


@pytest.fixture(params=[RecorderThread, process], ids=["thread", "process"])
def recorder(request: pytest.FixtureRequest) -> Iterator[Recorder]:
    with request.param() as recorder:
        yield recorder


@pytest.fixture
def other() -> Iterator[RecorderProcess]:
    """A recorder of its own, whose backlog is soon full."""
    with process(SMALL) as recorder:
        yield recorder


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def append_all(recorder: Recorder, stream: str, many: Iterable[Rows]) -> None:
    for rows in many:
        recorder.append(stream, rows)


def append_slowly(recorder: RecorderProcess, stream: str, many: Iterable[Rows]) -> None:
    """Give the recorder time to write, or to fail, before the next row: the backlog stays empty."""
    for rows in many:
        before = recorder.written[stream]
        recorder.append(stream, rows)
        deadline = time.monotonic() + 0.5
        while recorder.written[stream] == before and time.monotonic() < deadline:
            time.sleep(0.002)


def pid_of(recorder: RecorderProcess) -> int:
    assert recorder.pid is not None
    return recorder.pid


def test_one_take_after_the_other_is_kept_whole(recorder: Recorder, tmp_path: Path) -> None:
    for ticks in (3, 20, 1):
        name = recorder.begin(tmp_path, STREAMS, SAID, Lossless())
        give(recorder, range(ticks))
        sealed = recorder.end({"ended_by": "done"})
        assert sealed.id == name
        assert_given(sealed.path, ticks)
        assert Episode(sealed.path).attributes["ended_by"] == "done"
        assert Episode(sealed.path).digest == sealed.digest


def test_no_rows_are_rows_too(recorder: Recorder, tmp_path: Path) -> None:
    recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    recorder.append("arm", arm(0, 0))
    recorder.append("front", front(0)[:0])
    assert len(Episode(recorder.end({}).path).rows("arm")) == 0


def test_more_rows_at_once_than_the_backlog_holds_in_one_piece(other: RecorderProcess, tmp_path: Path) -> None:
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    many = arm(0, SMALL // 2 // ARM.itemsize)
    other.append("arm", many)
    assert np.array_equal(Episode(other.end({}).path).rows("arm"), many)


def test_a_crowded_backlog_does_not_wait_for_more_rows(other: RecorderProcess, tmp_path: Path) -> None:
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    count = SMALL // 3 // ARM.itemsize
    began = time.monotonic()
    for number in range(1, 17):
        other.append("arm", arm(0, count))
        until(lambda all_of_it=count * number: other.written["arm"] == all_of_it)  # type: ignore[misc]
    assert time.monotonic() - began < 16 * GATHER / 1000 / 2


def test_each_camera_is_kept_in_its_own_way(recorder: Recorder, tmp_path: Path) -> None:
    streams = STREAMS | {"wrist": FRONT}
    recorder.begin(tmp_path, streams, SAID, {"front": Lossless(), "wrist": Jpeg(70, "444")})
    give(recorder, range(2))
    recorder.append("wrist", front(0))
    episode = Episode(recorder.end({}).path)
    assert (episode.frames("front").codec, episode.frames("wrist").codec) == ("bytes", "imagecodecs_jpeg")
    assert np.array_equal(episode.frames("wrist", "depth")[0], front(0)["depth"][0])


def test_a_take_that_is_left_is_whole_in_staging(recorder: Recorder, tmp_path: Path) -> None:
    name = recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    give(recorder, range(5))
    recorder.leave()
    recorder.leave()
    (found,) = recover(tmp_path)
    assert found.id == str(name)
    assert_given(tmp_path / "episodes" / f"{name}.zarr", 5)


def test_a_take_that_cannot_begin_says_why_and_the_next_one_can(recorder: Recorder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RecordingFailed, match=r"File exists|Not a directory"):
        recorder.begin(tmp_path / "file", STREAMS, SAID, Lossless())
    with pytest.raises(RecordingFailed, match="cannot be a stream's name"):
        recorder.begin(tmp_path, {"a/b": ARM}, SAID, Lossless())
    recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    give(recorder, range(2))
    assert_given(recorder.end({}).path, 2)


@contextmanager
def read_only(folder: Path) -> Generator[None]:
    """Let nobody make, rename or remove anything in a folder: for root, that takes more than its mode."""
    root = os.geteuid() == 0
    if root and (shutil.which("chattr") is None or subprocess.run(["chattr", "+i", folder], check=False).returncode):
        pytest.skip("root may write anywhere, and this file system has no attribute that keeps it from it")
    before = folder.stat().st_mode
    if not root:
        folder.chmod(0o555)
    try:
        yield
    finally:
        if root:
            subprocess.run(["chattr", "-i", folder], check=True)
        else:
            folder.chmod(before)


def test_a_data_folder_that_is_read_only_is_told_and_costs_nothing(recorder: Recorder, tmp_path: Path) -> None:
    recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    give(recorder, range(1))
    first = recorder.end({})
    with (
        read_only(tmp_path / "staging"),
        pytest.raises(RecordingFailed, match=r"the take cannot begin: .*(not permitted|denied).*staging"),
    ):
        recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    second = recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    give(recorder, range(2))
    with (
        read_only(tmp_path / "episodes"),
        pytest.raises(RecordingFailed, match=r"cannot seal the episode: .*(not permitted|denied); \d+ MB are free"),
    ):
        recorder.end({"ended_by": "done"})
    third = recorder.begin(tmp_path, STREAMS, SAID, Lossless())
    give(recorder, range(3))
    assert recorder.end({}).id == third
    (found,) = recover(tmp_path)
    assert found.id == str(second)
    for ticks, name in enumerate((first.id, second, third), 1):
        assert_given(tmp_path / "episodes" / f"{name}.zarr", ticks)


def test_rows_that_do_not_belong_to_the_take_are_refused(other: RecorderProcess, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no take has begun"):
        other.append("arm", arm(0))
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    with pytest.raises(ValueError, match=r"no stream 'leg'; it has \['arm', 'front'\]"):
        other.append("leg", arm(0))
    with pytest.raises(ValueError, match="stream 'arm' has rows of"):
        other.append("arm", front(0))
    give(other, range(1))
    assert_given(other.end({}).path, 1)


def test_a_row_that_the_backlog_cannot_hold_is_told_at_the_start(tmp_path: Path) -> None:
    wide = sensed(("rgb", "u1", (480, 640, 3)))
    with process(SMALL) as recorder, pytest.raises(RecordingFailed, match=r"1\.0 MB may wait.*rows of up to 0\.9 MB"):
        recorder.begin(tmp_path, {"front": wide}, SAID, Lossless())


def test_no_memory_for_what_may_wait_is_told_at_the_start() -> None:
    """A limit on the size of this program's files stands in for it: its shared memory is one of them."""
    before = resource.prlimit(0, resource.RLIMIT_FSIZE)
    resource.prlimit(0, resource.RLIMIT_FSIZE, (SMALL, before[1]))
    try:
        with pytest.raises(RecordingFailed, match=r"no memory for 8 MB .* a station may ask for less"), process():
            pass
    finally:
        resource.prlimit(0, resource.RLIMIT_FSIZE, before)


def test_what_is_written_is_counted_while_it_goes_on(other: RecorderProcess, tmp_path: Path) -> None:
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    assert other.written == {"arm": 0, "front": 0}
    give(other, range(4))
    until(lambda: other.written == {"arm": 40, "front": 4})
    other.end({})
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    assert other.written == {"arm": 0, "front": 0}


def test_signals_meant_for_the_loop_do_not_end_the_recorder(other: RecorderProcess, tmp_path: Path) -> None:
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid_of(other), number)
    assert os.getpgid(pid_of(other)) != os.getpgid(0), "a Ctrl-C at the terminal reaches it"
    give(other, range(3))
    assert_given(other.end({}).path, 3)


def test_the_recorder_is_light_and_never_takes_the_processor_from_the_loop(
    other: RecorderProcess, tmp_path: Path
) -> None:
    """It has no library in it that it does not need: no torch, no physics, no screen."""
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    assert os.sched_getscheduler(pid_of(other)) == os.SCHED_BATCH
    mapped = Path(f"/proc/{pid_of(other)}/maps").read_text()
    assert "numpy" in mapped
    assert not [name for name in ("torch", "mujoco", "scipy", "av.libs") if f"/{name}" in mapped]


def test_a_recorder_that_stands_still_ends_the_take_within_the_backlog(other: RecorderProcess, tmp_path: Path) -> None:
    """What it was given is all kept once it goes on, and so is how the take ended."""
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    os.kill(pid_of(other), signal.SIGSTOP)
    tried: list[Rows] = []

    def more() -> Iterator[Rows]:
        for number in itertools.count():
            tried.append(arm(10 * number))
            yield tried[-1]

    with pytest.raises(RecordingFailed, match=r"1\.0 MB wait to be written"):
        append_all(other, "arm", more())
    given = len(tried) - 1
    assert given * takes(10 * ARM.itemsize) < SMALL
    patient, other.patience = other.patience, 0.1
    with pytest.raises(RecordingFailed, match=r"has not answered for 0\.1 s"):
        other.end({"ended_by": "fault"})
    other.patience = patient
    os.kill(pid_of(other), signal.SIGCONT)
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    (path,) = (tmp_path / "episodes").iterdir()
    assert np.array_equal(Episode(path).rows("arm"), arm(0, 10 * given))
    assert Episode(path).attributes["ended_by"] == "fault"
    give(other, range(2))
    assert_given(other.end({}).path, 2)


def test_a_recorder_that_stands_still_for_good_is_ended(tmp_path: Path) -> None:
    with process(SMALL) as recorder:
        recorder.begin(tmp_path, STREAMS, SAID, Lossless())
        recorder.patience = 0.1
        pid = pid_of(recorder)
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_death_of_the_recorder_ends_the_take_and_the_next_one_has_another(
    other: RecorderProcess, tmp_path: Path
) -> None:
    name = other.begin(tmp_path, STREAMS, SAID, Lossless())
    give(other, range(3))
    until(lambda: other.written["front"] == 3)
    first = pid_of(other)
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    with pytest.raises(RecordingFailed, match=r"the recorder is gone \(killed by SIGKILL\)"):
        other.append("arm", arm(30))
    with pytest.raises(RecordingFailed, match="the recorder is gone"):
        other.end({"ended_by": "fault"})
    recover(tmp_path)
    assert_given(tmp_path / "episodes" / f"{name}.zarr", 3)
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    assert pid_of(other) != first
    give(other, range(2))
    assert_given(other.end({}).path, 2)


def test_a_full_disk_ends_the_take_and_the_next_one_goes_on_when_there_is_room(
    other: RecorderProcess, tmp_path: Path
) -> None:
    """A limit on the size of its files stands in for a full disk."""
    name = other.begin(tmp_path, STREAMS, SAID, Lossless())
    give(other, range(2))
    until(lambda: other.written["front"] == 2)
    before = resource.prlimit(pid_of(other), resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    with pytest.raises(RecordingFailed, match=r"cannot keep the rows of 'front'.* MB are free"):
        append_slowly(other, "front", map(front, itertools.count(2)))
    with pytest.raises(RecordingFailed, match="cannot keep the rows of 'front'"):
        other.end({"ended_by": "fault"})
    resource.prlimit(pid_of(other), resource.RLIMIT_FSIZE, before)
    other.begin(tmp_path, STREAMS, SAID, Lossless())
    give(other, range(2))
    assert_given(other.end({}).path, 2)
    recover(tmp_path)
    kept = Episode(tmp_path / "episodes" / f"{name}.zarr")
    assert np.array_equal(kept.rows("arm"), arm(0, 20))
    assert len(kept.rows("front")) >= 2


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """Its memory has no name that could outlive both programs, and no file stays open."""

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    files = open_files()
    with process() as recorder:
        recorder.begin(tmp_path, STREAMS, SAID, Lossless())
        give(recorder, range(3))
        for pid in (os.getpid(), pid_of(recorder)):
            shared = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "backlog" in line]
            assert len(shared) == 1
            assert shared[0].endswith("/memfd:backlog (deleted)")
        os.kill(pid_of(recorder), signal.SIGKILL)
    assert open_files() == files


def test_there_is_room_for_two_seconds_of_a_cell() -> None:
    camera = sensed(("rgb", "u1", (480, 640, 3)))
    size = room({"front": camera, "wrist": camera, "arm": ARM}, 20)
    assert 2 * 2 * 30 * camera.itemsize < size < 1.1 * 2 * 2 * 30 * camera.itemsize


@pytest.mark.parametrize("seed", range(5))
def test_messages_of_any_length_come_out_as_they_went_in(seed: int) -> None:
    dice = np.random.default_rng(seed)
    sent: list[bytes] = []
    got: list[bytes] = []
    with Backlog(4096) as ours, Backlog(4096, (*map(os.dup, ours.files),)) as theirs:  # type: ignore[arg-type]  # map does not know how many it gives
        for _ in range(2000):
            body = dice.integers(0, 255, dice.integers(0, 1500), np.uint8)
            if ours.put(7, 3, body):
                sent.append(body.tobytes())
            if dice.random() < 0.3:
                some = [
                    (kind, stream, body.tobytes()) for kind, stream, body in theirs.take(int(dice.integers(1, 4096)))
                ]
                assert all(message[:2] == (7, 3) for message in some)
                got += [body for _, _, body in some]
                theirs.free()
        while some := [(0, 0, body.tobytes()) for _, _, body in theirs.take(4096)]:
            got += [body for _, _, body in some]
            theirs.free()
    assert len(sent) > 200
    assert got == sent


def test_a_full_backlog_takes_nothing_more_but_what_room_was_spared_for() -> None:
    with Backlog(4096) as backlog:
        body = np.zeros(100, np.uint8)
        while backlog.put(1, 0, body, spare=1024):
            pass
        for _ in range(1024 // takes(100)):
            assert backlog.put(2, 0, body)
        with pytest.raises(ValueError, match="too long for a backlog of 4096"):
            backlog.put(1, 0, np.zeros(3000, np.uint8))


def test_a_ctrl_c_in_the_middle_of_a_message_takes_back_all_of_it_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal is handled as soon as the system call is over, before anything else is done."""
    whole = os.eventfd_write

    def interrupted(file: int, count: int) -> None:
        whole(file, count)
        raise KeyboardInterrupt

    with Backlog(4096) as ours:
        assert ours.put(1, 0, np.full(100, 1, np.uint8))
        with monkeypatch.context() as patch:
            patch.setattr(os, "eventfd_write", interrupted)
            with pytest.raises(KeyboardInterrupt):
                ours.put(1, 0, np.full(200, 2, np.uint8))
        assert ours.put(1, 0, np.full(50, 3, np.uint8))
        with Backlog(4096, (*map(os.dup, ours.files),)) as theirs:  # type: ignore[arg-type]  # as above
            assert [(len(body), int(body[0])) for _, _, body in theirs.take(4096)] == [(100, 1), (200, 2), (50, 3)]
            assert theirs.written.shape == (MOST,)
