"""A camera's own clock and numbers become moments and places that a take can rely on. No SDK, no waiting."""

import numpy as np
import pytest

from drivers.realsense.rows import GLOBAL, HARDWARE, WRAP, Moments, Pairs, Shot, Track, layout

MS = 1_000_000
WALL = 1_700_000_000_000 * MS
"""What the wall clock showed when the host's clock was at zero."""


class Camera:
    """Takes a frame every 33 ms, each 5 to 25 ms on its way."""

    def __init__(self, domain: int = HARDWARE, clock: float = 1000.0, number: int = 0) -> None:
        self.domain, self.clock, self.number = domain, clock, number
        self.wall = WALL
        self.now = 10_000 * MS
        self._random = np.random.default_rng(5)
        self.exposed: list[int] = []
        self.arrived: list[int] = []

    def shoot(self, lead: float = 0.0) -> Shot:
        self.now += 33 * MS
        self.number += 1
        self.clock += 33.0
        arrived = self.now + round(self._random.uniform(5, 25) * MS)
        self.exposed.append(self.now - round(lead * MS))
        self.arrived.append(arrived)
        own = self.clock % (WRAP / 1e3) if self.domain == HARDWARE else (self.now + WALL) / MS
        return Shot(self.number % WRAP, own, self.domain, lead, arrived, arrived + self.wall)


def follow(track: Track, camera: Camera, frames: int, lead: float = 0.0) -> list[tuple[int, int]]:
    """Places and moments of the next frames."""
    taken = []
    for _ in range(frames):
        assert track.follow(camera.shoot(lead))
        taken.append((track.seq, track.t))
    return taken


def late(camera: Camera, taken: list[tuple[int, int]]) -> list[float]:
    """Milliseconds from each exposure to the moment it was given."""
    return [(t - exposed) / MS for (_, t), exposed in zip(taken, camera.exposed[-len(taken) :], strict=True)]


def test_a_frame_is_as_old_as_the_quickest_one_says() -> None:
    camera, track = Camera(), Track(30, Moments())
    taken = follow(track, camera, 300)
    assert np.ptp(late(camera, taken[100:])) < 0.5, "what a frame took longer on its way is not its age"
    assert all(t <= arrived for (_, t), arrived in zip(taken, camera.arrived, strict=True))
    assert (np.diff([t for _, t in taken]) > 0).all()


def test_a_clock_that_the_sdk_has_translated_tells_the_moment_itself() -> None:
    camera, track = Camera(GLOBAL), Track(30, Moments())
    assert late(camera, follow(track, camera, 50)) == pytest.approx([0] * 50, abs=0.001)


def test_the_middle_of_the_exposure_is_the_moment() -> None:
    camera, track = Camera(GLOBAL), Track(30, Moments())
    assert late(camera, follow(track, camera, 50, lead=4.0)) == pytest.approx([0] * 50, abs=0.001)


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_wall_clock_that_is_set_moves_no_frame(step: int) -> None:
    """The SDK goes on in the old time for a while, so the wall clock and the camera's contradict each other."""
    camera, track = Camera(GLOBAL), Track(30, Moments())
    follow(track, camera, 50)
    camera.wall += step * 1000 * MS
    assert all(-0.001 < ms < 25 for ms in late(camera, follow(track, camera, 50)))


def test_the_cameras_clock_wraps_after_71_minutes_and_nothing_happens() -> None:
    camera, track = Camera(clock=WRAP / 1e3 - 3300), Track(30, Moments())
    taken = follow(track, camera, 200)
    assert camera.clock > WRAP / 1e3
    assert np.diff([t for _, t in taken[50:]]) == pytest.approx(33 * MS, abs=2 * MS)


def test_a_clock_that_begins_anew_without_a_wrap_is_another_clock() -> None:
    camera, track = Camera(clock=50_000), Track(30, Moments())
    follow(track, camera, 50)
    camera.clock = 0.0
    assert all(-0.001 < ms < 25 for ms in late(camera, follow(track, camera, 50)))


def test_a_change_of_clocks_moves_no_frame() -> None:
    """The first frames are stamped by the camera, until the SDK can translate."""
    camera, track = Camera(HARDWARE), Track(30, Moments())
    before = follow(track, camera, 20)
    camera.domain = GLOBAL
    after = follow(track, camera, 20)
    assert all(-0.001 < ms < 25 for ms in late(camera, after))
    assert after[0][1] > before[-1][1]


def test_numbers_go_on_over_their_wrap_and_show_what_was_lost() -> None:
    camera, track = Camera(number=WRAP - 3), Track(30, Moments())
    assert [seq for seq, _ in follow(track, camera, 4)] == [WRAP - 2, WRAP - 1, WRAP, WRAP + 1]
    camera.number += 5
    assert follow(track, camera, 1)[0][0] == WRAP + 7


def test_a_frame_that_is_shown_again_is_no_frame() -> None:
    camera, track = Camera(), Track(30, Moments())
    for _ in range(3):
        last = camera.shoot()
        assert track.follow(last)
    assert not track.follow(last)
    assert not track.follow(Shot(1, last.device_t + 33, last.domain, 0.0, last.arrived + 33 * MS, last.wall))
    assert track.follow(camera.shoot())


def test_a_camera_that_was_opened_again_goes_on_where_it_would_have_been() -> None:
    camera, track = Camera(clock=70_000, number=500), Track(1000 / 33, moments := Moments())
    seq, t = follow(track, camera, 50)[-1]
    camera.now += 20 * 33 * MS
    camera.clock, camera.number = 3.0, 0
    moments.restart()
    track.restart()
    taken = follow(track, camera, 2)
    assert taken[0][0] - seq == pytest.approx(21, abs=1)
    assert taken[1][0] - taken[0][0] == 1
    assert taken[0][1] - t == pytest.approx(21 * 33 * MS, abs=25 * MS)


def test_streams_of_one_camera_are_as_far_apart_as_it_says_whatever_their_way_took() -> None:
    """Around the wrap of its clock, and with depth slower to come than the next picture."""
    moments = Moments()
    colour, depth = Track(30, moments), Track(30, moments)
    for k in range(200):
        own = (WRAP / 1e3 - 3300 + 33 * k) % (WRAP / 1e3)
        now = (10_000 + 33 * k) * MS
        assert colour.follow(Shot(k, own, HARDWARE, 0.0, now + 5 * MS, WALL))
        if k > 0:
            assert depth.follow(Shot(k - 1, (own - 33) % (WRAP / 1e3), HARDWARE, 0.0, now + 6 * MS, WALL))
            assert colour.own - depth.own == pytest.approx(33 * MS, abs=1000)


def test_every_frame_is_in_one_pair_at_most() -> None:
    pairs: Pairs[str] = Pairs(30)
    assert pairs.match(1, 0, "depth 0") is None
    assert pairs.match(0, 2 * MS, "colour 0") == ("colour 0", "depth 0")
    assert pairs.match(0, 35 * MS, "colour 1") is None
    assert pairs.match(0, 68 * MS, "colour 2") is None
    assert pairs.match(1, 66 * MS, "depth 2") == ("colour 2", "depth 2"), "depth 1 was lost, and colour 1 with it"


def test_what_is_a_frame_apart_is_no_pair() -> None:
    pairs: Pairs[str] = Pairs(30)
    assert pairs.match(0, 0, "colour 0") is None
    assert pairs.match(1, 33 * MS, "depth 1") is None
    assert pairs.match(0, 33 * MS, "colour 1") == ("colour 1", "depth 1")


def test_shutters_half_a_frame_apart_pair_in_one_way_only() -> None:
    """Whichever neighbour was nearer by a hair would change all the time; first come, first served does not."""
    pairs: Pairs[int] = Pairs(30)
    random = np.random.default_rng(2)
    found = []
    for k in range(200):
        for stream, t in ((1, k * 33.3), (0, k * 33.3 + 16.7 + random.normal(0, 0.5))):
            if pair := pairs.match(stream, round(t * MS), k):
                found.append(pair)
    assert found == [(k, k) for k in range(200)]


@pytest.mark.parametrize(
    ("depth", "align", "size"),
    [(True, True, (48, 64)), (False, True, None), ((24, 32), True, (48, 64)), ((24, 32), False, (24, 32))],
)
def test_a_row_has_the_depth_that_was_asked_for(
    depth: bool | tuple[int, int], align: bool, size: tuple[int, int] | None
) -> None:
    dtype = layout((48, 64), depth, align)
    assert dtype.names is not None
    assert dtype.names[:3] == ("t", "received", "seq")
    assert dtype["rgb"].shape == (48, 64, 3)
    assert (dtype["depth"].shape if "depth" in dtype.names else None) == size
    assert dtype["number"].shape == (2 if size else 1,)
