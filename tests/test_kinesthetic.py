"""An arm is led by hand, and does it again: the real driver in a program of its own, against an emulated robot."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.home import Home
from appliance.session import NotThere, Session
from appliance.settings import learner
from appliance.train import seeing, train
from collectors import kinesthetic, replay
from collectors.events import Event, Events
from collectors.loop import Loop
from collectors.ways import WAYS, Lacking, Place
from drivers import Device, Guard, HostClock, Limits
from drivers.emulators.fci.admin import ask
from drivers.emulators.fci.table import EmulatedTable, emulate
from drivers.hosted import Hosted
from drivers.kinematics import HIGH, LOW, Chain
from storage import Catalog, Episode, Observation, Outcome, Task, Verdict, Wanted
from tests.franka import OTHER, after, alone, healthy, newest, tell, wait

pytest.importorskip("franky", reason="the extra [hardware] is not installed")

TASK = Task(name="lead", instruction="do as you were led")
LIMITS = Limits(low=tuple(LOW), high=tuple(HIGH), speed=(1.31, 1.31, 1.31, 1.31, 2.63, 2.09, 2.63))
PUSHES = (
    (500, (0, 3, 0)),
    (400, (0, -3, 0)),
    (500, (2.5, 0, -2)),
    (400, (-2.5, 0, 2)),
    (500, (0, -3, 2)),
    (400, (0, 2, -2)),
    (500, (0, 0, 0)),
)
"""For how many of the robot's milliseconds, and with what force (N), a person pushes the tool."""

GRIPS = {400: Event.GRIP_CLOSE, 2000: Event.GRIP_OPEN}
"""Keys that are pressed after so many milliseconds."""


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with alone() as host:
        yield host


@pytest.fixture
def place(host: str) -> Iterator[Place]:
    driver = Hosted("arm", "drivers.franka:Franka", {"host": healthy(host), "silence": 5.0}, silence=5.0)
    with Guard(driver, LIMITS, HostClock()) as robot:
        yield Place(robot, {"arm": driver}, 20, Events())


@pytest.fixture
def table() -> Iterator[Place]:
    """The same with a table, and cameras that watch it."""
    program = emulate(OTHER)
    try:
        cell = EmulatedTable(image=(24, 24), camera_hz=5, host=OTHER)
        robot = Guard(cell.robot, LIMITS, cell.clock)
        devices: list[Device] = [robot, *cell.watching]
        with ExitStack() as stack:
            for one in devices:
                stack.enter_context(one)
            yield Place(robot, {one.name: one for one in devices} | {"arm": cell.robot}, 20, Events())
    finally:
        program.close()


def sitting(place: Place, folder: Path) -> Session:
    catalog = Catalog(folder / "catalog.db")
    catalog.add(TASK)
    sources = WAYS["kinesthetic"].sources(place)
    watching = [one for one in place.devices.values() if one.name != place.robot.name]
    loop = Loop(place.robot, watching, HostClock(), 20)
    return Session(loop, catalog, folder, "ada", events=place.events, sources=sources)


def pushing(host: str, place: Place) -> Callable[[Observation], bool]:
    """A person who pushes and presses keys by the robot's clock, and is done at the end; asked at every tick."""
    begin: list[int] = []
    pressed: set[int] = set()
    applied: list[tuple[float, ...]] = [()]

    def done(seen: Observation) -> bool:
        rows = seen.streams["arm"]
        if not len(rows) or rows["mode"][-1] != 2:
            return False
        begin[:] = begin or [int(rows["seq"][-1])]
        passed = int(rows["seq"][-1]) - begin[0]
        for moment, key in GRIPS.items():
            if passed >= moment and moment not in pressed:
                pressed.add(moment)
                place.events.put(key)
        ends = np.cumsum([milliseconds for milliseconds, _ in PUSHES])
        now = int(np.searchsorted(ends, passed, side="right"))
        if now == len(PUSHES):
            return True
        if applied[0] != PUSHES[now][1]:
            applied[0] = PUSHES[now][1]
            ask(host, "push", wrench=[*applied[0], 0, 0, 0])
        return False

    return done


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far the point of one way is from the other way that is furthest, in metres."""
    start, way = other[:-1], np.diff(other, axis=0)
    along = np.einsum("nmi,mi->nm", one[:, None] - start, way) / np.maximum((way**2).sum(axis=1), 1e-18)
    nearest = start + np.clip(along, 0, 1)[..., None] * way
    return float(np.linalg.norm(one[:, None] - nearest, axis=2).min(axis=1).max())


def way(episode: Episode) -> NDArray[np.float64]:
    tools = episode["arm", "tool"][:, :3]
    return np.asarray(tools[:: max(1, len(tools) // 400)])


@pytest.mark.slow
def test_what_was_shown_by_hand_is_done_again_within_5_mm(table: Place, tmp_path: Path) -> None:
    place, host = table, OTHER
    session = sitting(place, tmp_path)
    shown = session.run(kinesthetic.agent(place), "kinesthetic", TASK, 60, pushing(host, place))
    session.later()
    first = Episode(tmp_path / session.catalog.episode(shown).path)
    assert first.attributes["ended_by"] == "done"
    assert len(first["action", "t"]) == 0, "nothing was commanded"
    led = first["arm", "mode"] == 2
    off = np.abs(first["arm", "q_target"] - first["arm", "q"])[led]
    assert off.max() < 1e-9, "while it is led, its target is where it is"
    moved = np.ptp(way(first), axis=0)
    assert moved.max() > 0.05
    assert set(np.round(first["arm", "width_target"], 3)) == {0.0, 0.08}
    assert first["arm", "width"].min() < 0.01

    for _ in range(3):  # a busy machine does not command evenly, which is not the repetition's fault
        again = replay.agent(replace(place, repeats=first))
        repeated = session.run(again, "replay", TASK, 60, again.done, follows=shown)
        session.later()
        second = Episode(tmp_path / session.catalog.episode(repeated).path)
        assert session.catalog.episode(repeated).follows == shown
        assert second.attributes["ended_by"] == "done"
        sent = np.array([Chain().tool(q)[:3] for q in second["action", "q"]])
        told = max(apart(way(first), sent), apart(sent, way(first)))
        missed, beyond = apart(way(first), way(second)), apart(way(second), way(first))
        end = float(np.linalg.norm(way(first)[-1] - way(second)[-1]))
        tell(
            f"led {first.seconds:.1f} s through {np.linalg.norm(moved) * 1e3:.0f} mm at up to "
            f"{np.abs(first['arm', 'dq']).max():.2f} rad/s, repeated in {second.seconds:.1f} s at "
            f"{again.pace:.0%}: ways {missed * 1e3:.1f} and {beyond * 1e3:.1f} mm apart, ends {end * 1e3:.1f} mm; "
            f"what it was told {told * 1e3:.1f} mm, a tick up to {second['ticks', 'late'].max() / 1e6:.0f} ms late"
        )
        assert told < 0.002, "however late ticks come"
        if max(missed, beyond, end) < 0.005:
            break
    assert max(missed, beyond, end) < 0.005
    assert second["arm", "width"].min() < 0.01
    assert second.attributes["grade"]["gap"] is not None
    session.catalog.add(Verdict(episode=repeated, by="ada", outcome=Outcome.SUCCESS))
    home = Home(tmp_path, str(tmp_path / "catalog.db"))
    how = seeing(home, TASK.name, learner("nearest", "tiny", {}))
    assert train(home, TASK.name, "nearest", "tiny", how, lambda *_: None).name == "nearest-1"


def test_the_arm_s_own_button_begins_and_ends_a_take(place: Place, host: str, tmp_path: Path) -> None:
    session = sitting(place, tmp_path)
    for take in range(2):
        assert not session.listen()
        ask(host, "guide", pressed=True)
        wait(lambda: session.listen() or session.events.take(Event.START))
        ticks = 0

        def lets_go(_seen: Observation) -> bool:
            nonlocal ticks
            ticks += 1
            if ticks == 10:
                ask(host, "guide", pressed=False)
            return False

        episode = session.run(kinesthetic.agent(place), "kinesthetic", TASK, 60, lets_go)
        session.later()
        assert session.ended is Event.SUCCESS, f"take {take}"
        assert session.catalog.episode(episode).ended_by == "done"
    assert newest(place.robot)["mode"] == 1


def test_after_a_take_it_is_stiff_and_the_button_may_be_pressed(
    place: Place, host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    session = sitting(place, tmp_path)
    before = newest(place.robot)["q"].copy()
    ask(host, "push", wrench=[0, 5, 0, 0, 0, 0])
    session.run(kinesthetic.agent(place), "kinesthetic", TASK, 20, lambda seen: led(seen, before) > 0.03)
    assert session.catalog.find(Wanted(task=TASK.name))[0].row.ended_by == "done", "it gave way to a light hand"
    ask(host, "push", wrench=[0] * 6)
    wait(lambda: np.abs(newest(place.robot)["dq"]).max() < 0.01)
    there = newest(place.robot)["q"].copy()
    ask(host, "push", wrench=[0, 10, 0, 0, 0, 0])
    begin = int(newest(place.robot)["seq"])
    wait(lambda: newest(place.robot)["seq"] > begin + 500)
    assert newest(place.robot)["q"] == pytest.approx(there, abs=0.01)
    ask(host, "push", wrench=[0] * 6)
    with caplog.at_level(logging.WARNING):
        ask(host, "guide", pressed=True)
        wait(lambda: newest(place.robot)["mode"] == 3)
        ask(host, "guide", pressed=False)
    assert not session.listen()
    assert not caplog.messages


@pytest.mark.parametrize("limit", [60.0, 0.5])
def test_after_it_was_repeated_the_button_may_be_pressed_for_the_next_take(
    place: Place, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """Wherever the repetition ended, and if it did not even get to where it begins."""
    session = sitting(place, tmp_path)
    before = newest(place.robot)["q"].copy()
    ask(host, "push", wrench=[0, 5, 0, 0, 0, 0])
    shown = session.run(kinesthetic.agent(place), "kinesthetic", TASK, 20, lambda seen: led(seen, before) > 0.05)
    session.later()
    ask(host, "push", wrench=[0] * 6)
    monkeypatch.setattr("appliance.session.APPROACH", limit)
    again = replay.agent(replace(place, repeats=Episode(tmp_path / session.catalog.episode(shown).path)))
    with pytest.raises(NotThere) if limit < 1 else nullcontext():
        session.run(again, "replay", TASK, 20, again.done, follows=shown)
        session.later()
    ask(host, "guide", pressed=True)
    wait(lambda: newest(place.robot)["mode"] == 3)
    after(place.robot, 200)  # or it is lost: a button that is pressed while a program moves the arm stops it
    ask(host, "guide", pressed=False)


def led(seen: Observation, before: NDArray[np.float64]) -> float:
    """How far it was led, in radians."""
    rows = seen.streams["arm"]
    return float(np.abs(rows["q"][-1] - before).max()) if len(rows) else 0.0


def test_a_robot_that_nobody_can_lead_is_refused(place: Place) -> None:
    stiff = Hosted("arm", "drivers.dynamixel:Follower", {"port": "nowhere"})
    with pytest.raises(Lacking, match="has the methods guide, grip; arm has not"):
        kinesthetic.agent(Place(place.robot, {"arm": stiff}, 20))
