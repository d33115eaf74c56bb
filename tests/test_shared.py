"""Rows that one program publishes and others watch: whole, complete or loud, and nobody can disturb them."""

import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers import DeviceError, DeviceLost, Overrun, Rows, sensed
from drivers.memory import HEAD, Memory
from drivers.shared import MOST, Publisher, Watcher, address, published, room
from tests.hosts import shares

DTYPE = sensed(("value", "<i8", (3,)), ("odd", "u1"))


def rows(first: int, count: int) -> Rows:
    """Rows 'first' and on, stamped 10, 20, ..., whose every field tells their number."""
    made = np.zeros(count, DTYPE)
    made["seq"] = np.arange(first, first + count)
    made["t"] = made["received"] = 10 * (made["seq"] + 1)
    made["value"] = made["seq"][:, None]
    made["odd"] = made["seq"] % 2
    return made


@pytest.fixture
def where() -> str:
    return address("gauge")


@pytest.fixture
def publisher(where: str) -> Iterator[Publisher]:
    with Publisher("gauge", DTYPE, 8) as made:
        made.serve(where)
        yield made


def test_a_watcher_sees_every_row_once_and_in_order(publisher: Publisher, where: str) -> None:
    seen: list[Rows] = []
    with Watcher("gauge", where) as watcher:
        assert watcher.dtype == DTYPE
        assert len(watcher.read(-1)) == 0
        for k in range(20):
            publisher.push(rows(3 * k, 3))
            seen.append(watcher.read(int(seen[-1]["t"][-1]) if seen else -1))
        np.testing.assert_array_equal(np.concatenate(seen), rows(0, 60))
        np.testing.assert_array_equal(watcher.read(590), rows(59, 1))


def test_more_rows_than_are_kept_may_come_at_once(publisher: Publisher, where: str) -> None:
    publisher.push(rows(0, 3))
    publisher.push(rows(3, 21))
    with Watcher("gauge", where) as watcher:
        np.testing.assert_array_equal(watcher.read(160), rows(16, 8))
        with pytest.raises(Overrun, match="those up to t=160 are gone"):
            watcher.read(159)


def test_a_hole_is_an_overrun_until_one_asks_for_what_came_after_it(publisher: Publisher, where: str) -> None:
    publisher.push(rows(0, 2))
    publisher.skip(75)
    with Watcher("gauge", where) as watcher:
        with pytest.raises(Overrun, match="t=75"):
            watcher.read(20)
        publisher.push(rows(7, 2))
        np.testing.assert_array_equal(watcher.read(75), rows(7, 2))


def test_rows_laid_out_in_another_way_are_not_published(publisher: Publisher, where: str) -> None:
    with pytest.raises(ValueError, match="gauge has rows of"):
        publisher.push(np.zeros(1, sensed(("value", "<f8"))))


def test_rows_laid_out_in_another_way_are_not_watched(publisher: Publisher, where: str) -> None:
    other = sensed(("value", "<f8"))
    with pytest.raises(DeviceError, match="gauge is published with rows of"), Watcher("gauge", where, other):
        pass


def test_losing_the_device_is_told_in_its_own_words_until_it_is_back(publisher: Publisher, where: str) -> None:
    with Watcher("gauge", where) as watcher:
        publisher.push(rows(0, 1))
        publisher.fail("gauge: its cable is out")
        with pytest.raises(DeviceLost, match=r"^gauge: its cable is out$"):
            watcher.read(-1)
        publisher.fail("")
        np.testing.assert_array_equal(watcher.read(-1), rows(0, 1))
        publisher.close()
        with pytest.raises(DeviceLost, match="gauge: the program that ran it has left it"):
            watcher.read(-1)


def test_a_publisher_that_stands_still_is_lost_until_it_goes_on(publisher: Publisher, where: str) -> None:
    with Watcher("gauge", where, silence=0.5) as strict, Watcher("gauge", where) as patient:
        publisher.beat(time.monotonic_ns() - 700_000_000)
        with pytest.raises(DeviceLost, match=r"gauge: the program that runs it has stood still for 0\.7 s"):
            strict.read(-1)
        assert len(patient.read(-1)) == 0
        publisher.push(rows(0, 1))
        assert len(strict.read(-1)) == 1


def test_a_watcher_that_was_not_entered_or_has_left_says_so(publisher: Publisher, where: str) -> None:
    watcher = Watcher("gauge", where)
    with pytest.raises(DeviceError, match="known once it has been entered"):
        _ = watcher.dtype
    assert Watcher("gauge", where, DTYPE).dtype == DTYPE
    with watcher:
        pass
    with pytest.raises(DeviceLost, match="gauge has not been entered"):
        watcher.read(-1)


def test_nothing_published_is_told_with_the_address(where: str) -> None:
    with pytest.raises(DeviceError, match=f"gauge: nobody publishes it at '{where}'"), Watcher("gauge", where):
        pass


def test_two_devices_cannot_be_published_at_one_address(publisher: Publisher, where: str) -> None:
    with (
        Publisher("other", DTYPE, 8) as other,
        pytest.raises(DeviceError, match=r"other cannot be watched at .*in use"),
    ):
        other.serve(where)


def test_what_is_published_can_be_found(publisher: Publisher, where: str) -> None:
    with Watcher("gauge", where):
        mine = [one for one in published() if one.address == where]
    assert [(one.pid, one.name) for one in mine] == [(os.getpid(), "gauge")]
    publisher.close()
    assert where not in [one.address for one in published()]


def test_who_watches_cannot_write_nor_cut_off(publisher: Publisher, where: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(f"\0{where}")
        _, (file,), _, _ = socket.recv_fds(line, 65536, 1)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(file, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(file, b"x", 0)
        again = os.open(f"/proc/self/fd/{file}", os.O_RDWR)
        with pytest.raises(PermissionError):
            mmap.mmap(again, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            os.pwrite(again, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(again, 0)
        os.close(again)
    finally:
        os.close(file)
    with Watcher("gauge", where) as watcher, pytest.raises(ValueError, match="read-only"):
        watcher._memory.rows["t"] = 0  # type: ignore[union-attr]  # it has been entered


LOOK = "import os, sys; from drivers.shared import Watcher; os.setuid(65534); Watcher('gauge', sys.argv[1]).__enter__()"
KNOCK = """
import os, socket, sys
os.setuid(65534)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
    line.connect(chr(0) + sys.argv[1])
    print(*socket.recv_fds(line, 65536, 1)[:2])
"""
SHOW = """
import os, sys
from drivers import sensed, shared
os.setuid(65534)
publisher = shared.Publisher("gauge", sensed(), 8)
publisher.serve(sys.argv[1])
shared._user = lambda line: os.getuid()
print("ready", flush=True)
sys.stdin.read()
"""
somebody_else = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@somebody_else
def test_another_user_is_refused_with_a_reason(publisher: Publisher, where: str) -> None:
    said = subprocess.run([sys.executable, "-c", LOOK, where], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "gauge is published by user 0 for itself; this is user 65534" in said.stderr
    given = subprocess.run([sys.executable, "-c", KNOCK, where], capture_output=True, text=True, check=True)
    assert given.stdout == "b'{}' []\n"


@somebody_else
def test_what_another_user_publishes_is_not_believed(where: str) -> None:
    """An address is no secret: whoever is there first could show rows of their own."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SHOW, where], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(DeviceError, match="gauge is published by user 65534 for itself"), Watcher("gauge", where):
            pass
        other.communicate("")


WRITE = """
import sys, time
import numpy as np
from drivers import sensed, shared
dtype = sensed(("picture", "<i8", (int(sys.argv[2]),)))
with shared.Publisher("camera", dtype, int(sys.argv[3])) as publisher:
    publisher.serve(sys.argv[1])
    print("ready", flush=True)
    row, number = np.zeros(1, dtype), 0
    while True:
        number += 1
        row["t"] = row["seq"] = row["picture"] = number
        publisher.push(row)
"""


@pytest.fixture(params=[(20_000, 4), (1, 2)])
def torrent(where: str, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A program that publishes pictures as fast as it can: of 160 kB into a ring of four, or tiny ones into two."""
    arguments = [sys.executable, "-c", WRITE, where, *map(str, request.param)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
            yield program
        finally:
            program.kill()


def test_a_row_that_is_overwritten_while_it_is_copied_is_gone_never_torn(
    torrent: subprocess.Popen[str], where: str
) -> None:
    whole = gone = since = 0
    with Watcher("camera", where) as watcher:
        end = time.monotonic() + 10
        while (whole < 100 or gone < 20) and time.monotonic() < end:
            try:
                seen = watcher.read(since)
            except Overrun as error:
                gone += 1
                since = int(str(error).split("t=")[2].split()[0])
                continue
            np.testing.assert_array_equal(seen["t"], np.arange(since + 1, since + 1 + len(seen)))
            np.testing.assert_array_equal(seen["picture"], np.broadcast_to(seen["t"][:, None], seen["picture"].shape))
            since, whole = since + len(seen), whole + len(seen)
    assert whole, "nothing was tested: rows were never whole"
    assert gone, "nothing was tested: the reader always kept up"


class Crossed(Memory):
    """Memory whose writer comes across while a reader looks for its first row."""

    coming: Rows | None = None

    def _stamp(self, number: int) -> int:
        if self.coming is not None:
            coming, self.coming = self.coming, None
            self.push(coming)
        return super()._stamp(number)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_writer_that_comes_across_while_the_first_row_is_looked_for_does_not_mix_up_rows(count: int) -> None:
    memory = Crossed(bytearray(HEAD + 4 * DTYPE.itemsize), DTYPE, 4)
    memory.push(rows(0, 4))
    memory.coming = rows(4, count)
    if count <= 2:
        seen = memory.since(20)
        assert len(seen) >= 2
        np.testing.assert_array_equal(seen, rows(2, len(seen)))
    else:
        with pytest.raises(Overrun):
            memory.since(20)


class Reworded(Memory):
    """Memory whose writer says something else after a reader's first look at the counts."""

    coming = ""

    @property
    def _counts(self) -> NDArray[np.int64]:
        coming, self.coming = self.coming, ""
        if not coming:
            return self._kept
        before = self._kept.copy()
        self.say(coming)
        return before

    @_counts.setter
    def _counts(self, counts: NDArray[np.int64]) -> None:
        self._kept = counts


def test_what_went_wrong_is_told_whole_or_not_yet() -> None:
    memory = Reworded(bytearray(HEAD + 4 * DTYPE.itemsize), DTYPE, 4)
    memory.say("arm: lost")
    memory.coming = "arm: its cable is out"
    assert memory.said() in {"", "arm: lost", "arm: its cable is out"}
    assert memory.said() == "arm: its cable is out"


class Late(Memory):
    """Memory whose reader is put aside between two looks at the counts, while the writer goes twice around."""

    coming: Rows | None = None

    @property
    def _counts(self) -> NDArray[np.int64]:
        coming, self.coming = self.coming, None
        if coming is None:
            return self._kept
        before = self._kept.copy()
        self.push(coming)
        return before

    @_counts.setter
    def _counts(self, counts: NDArray[np.int64]) -> None:
        self._kept = counts


def test_a_reader_that_is_put_aside_for_long_is_told_what_it_missed() -> None:
    memory = Late(bytearray(HEAD + 4 * DTYPE.itemsize), DTYPE, 4)
    memory.push(rows(0, 4))
    memory.coming = rows(4, 12)
    with pytest.raises(Overrun, match="t=120"):
        memory.since(20)
    memory.coming = rows(16, 12)
    np.testing.assert_array_equal(memory.since(240), rows(24, 4))


def test_a_publisher_that_is_killed_is_lost_and_leaves_nothing(torrent: subprocess.Popen[str], where: str) -> None:
    assert shares(torrent.pid) == set()
    with Watcher("camera", where) as watcher:
        torrent.kill()
        torrent.wait()
        with pytest.raises(DeviceLost, match="camera: the program that ran it is gone"):
            watcher.read(-1)
    assert where not in [one.address for one in published()]


def test_a_watcher_that_stands_still_or_is_killed_disturbs_nobody(publisher: Publisher, where: str) -> None:
    looking = "import sys; from drivers.shared import Watcher\n"
    looking += "with Watcher('gauge', sys.argv[1]): print('in', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", looking, where], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        other.send_signal(signal.SIGSTOP)
        with Watcher("gauge", where) as watcher:
            for k in range(200):
                publisher.push(rows(k, 1))
                np.testing.assert_array_equal(watcher.read(10 * k), rows(k, 1))
            other.kill()
            other.wait()
            publisher.push(rows(200, 1))
            assert len(watcher.read(2000)) == 1


def test_any_number_may_watch_at_once_and_come_and_go(publisher: Publisher, where: str) -> None:
    publisher.push(rows(0, 4))
    for _ in range(5):
        watchers = [Watcher("gauge", where) for _ in range(40)]
        for watcher in watchers:
            watcher.__enter__()
        assert all(len(watcher.read(-1)) == 4 for watcher in watchers)
        for watcher in watchers:
            watcher.__exit__(None, None, None)
    assert len(publisher._lines) <= 40, "lines of those who left are kept"


def test_two_seconds_are_kept_but_a_bounded_amount_of_memory() -> None:
    picture = sensed(("rgb", "u1", (480, 640, 3)), ("depth", "<u2", (480, 640)))
    assert room(picture) == 60
    assert room(DTYPE) == 2000
    assert room(DTYPE, hz=5) == 32
    huge = sensed(("rgb", "u1", (3000, 4000, 3)))
    assert 2 <= room(huge) <= MOST // huge.itemsize


def test_memory_that_is_not_there_is_told_at_the_start() -> None:
    """A limit on the size of this program's files stands in for it: its shared memory is one of them."""
    before = resource.prlimit(0, resource.RLIMIT_FSIZE)
    resource.prlimit(0, resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(DeviceError, match="gauge: there is no memory for 5 MB of its rows"):
            Publisher("gauge", DTYPE, 100_000)
    finally:
        resource.prlimit(0, resource.RLIMIT_FSIZE, before)
