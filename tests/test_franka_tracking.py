"""No stream of targets makes a Franka break a limit of its own: the reference, the tracker and the arm in lockstep."""

import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.emulators.fci import wire
from drivers.emulators.fci.arm import Arm
from drivers.emulators.fci.model import SPEED_LIMIT, TORQUE_LIMIT
from drivers.emulators.fci.plant import Plant
from drivers.emulators.fci.wire import Controller, Generator, Mode
from drivers.franka import Franka
from drivers.franka.arm import SLEW
from drivers.franka.reference import Reference
from drivers.kinematics import HIGH, LOW
from drivers.twin.scene import HOME
from tests.franka import MS, alone, healthy, newest, target, tell

pytest.importorskip("franky", reason="the extra [hardware] is not installed")

Floats = NDArray[np.float64]

PASSED = 0.001 / (0.001 + 1 / (2 * np.pi * 100))
"""The share of a change of torque that libfranka's filter lets through in a millisecond, at franky's 100 Hz."""


class Targets:
    """Where an arm is sent next, and when, within 0.3 rad of its limits and ``reach`` of home."""

    def __init__(self, kind: str, seed: int, reach: float = 1.2) -> None:
        self._kind, self._random = kind, np.random.default_rng(seed)
        self._low = np.maximum(np.array(LOW) + 0.3, np.array(HOME) - reach)
        self._high = np.minimum(np.array(HIGH) - 0.3, np.array(HOME) + reach)
        self._goal: Floats = np.array(HOME)

    def next(self) -> tuple[Floats, int, int]:
        """Joint angles, how far ahead their moment is, and how long until the next ones, in milliseconds."""
        random = self._random
        if self._kind == "anywhere":
            self._goal = random.uniform(self._low, self._high)
            return self._goal, int(random.integers(-100, 200)), int(random.integers(20, 600))
        if self._kind == "to and fro":
            self._goal = np.where(random.random(7) < 0.5, self._low, self._high)
            return self._goal, 20, int(random.integers(100, 900))
        self._goal = np.clip(self._goal + random.normal(0, 0.15, 7), self._low, self._high)
        return self._goal, 0, 50


KINDS = ("anywhere", "to and fro", "trembling")


def tracked(targets: Targets, seconds: float, pauses: bool, slew: float = SLEW) -> tuple[list[str], Floats, Floats]:
    """Follow targets in the robot's own time; return what the arm found wrong, and its highest speeds and torques.

    The torques are those of franky's joint impedance tracker: stiffness, critical damping for a unit of mass, the
    centrifugal terms; each change limited, and filtered by libfranka. With ``pauses`` the reference is not moved along
    now and then for up to 120 ms, as on a busy machine.
    """
    arm, settings = Arm(Plant()), Franka("arm", "nowhere")
    random = np.random.default_rng(9)
    stiffness = np.array(settings.stiffness)
    damping = 2 * np.sqrt(stiffness)
    fields = [0] * len(wire.MOVE.unpack(bytes(wire.MOVE.size)))
    fields[:2] = Controller.EXTERNAL, Generator.NONE
    arm.begin(1, wire.MOVE.pack(*fields))
    reference = Reference(np.array(settings.joint_velocity), np.array(settings.joint_acceleration))
    reference.begin(arm.plant.q, 0)
    torque, command = np.zeros(7), np.zeros(1, wire.COMMAND)
    fastest, hardest = np.zeros(7), np.zeros(7)
    sent = due = 0
    for now in range(round(1000 * seconds)):
        if now >= sent:
            goal, ahead, pause = targets.next()
            reference.aim((now + ahead) * MS, goal, now * MS)
            sent = now + pause
        if now >= due:
            q, dq = reference.step(now * MS)
            due = now + (int(random.integers(20, 120)) if pauses and random.random() < 0.1 else 5)
        wanted = stiffness * (q - arm.plant.q) + damping * (dq - arm.plant.dq) + arm.plant.data.qfrc_bias[:7]
        command["tau_J_d"], torque = torque, torque + PASSED * np.clip(wanted - torque, -slew, slew)
        arm.pass_time(command[0])
        fastest, hardest = np.maximum(fastest, np.abs(arm.plant.dq)), np.maximum(hardest, np.abs(torque))
        if arm.mode is Mode.REFLEX:
            break
    return [name for name, found in zip(wire.ERRORS, arm.state["errors"], strict=False) if found], fastest, hardest


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_no_stream_of_targets_breaks_a_limit_of_the_arm(kind: str, pauses: bool) -> None:
    """Not its speed, not its torque, not how fast that may change; with a tenth to spare, whatever the targets do."""
    for seed, reach in ((2, 1.2), (3, 3.0)):
        wrong, fastest, hardest = tracked(Targets(kind, seed, reach), 4.3, pauses)
        assert wrong == []
        assert (fastest < 0.9 * SPEED_LIMIT).all(), fastest
        assert (hardest < 0.9 * TORQUE_LIMIT).all(), hardest


def test_with_frankys_own_limit_of_torque_the_arm_swings_until_it_breaks_its_speed_limit() -> None:
    """Why `SLEW` is what it is; and that the law above is the one that the client has."""
    wrong, _, _ = tracked(Targets("trembling", 2), 3.0, pauses=False, slew=1.0)
    assert "joint_velocity_violation" in wrong


@pytest.fixture(scope="module")
def robot() -> Iterator[str]:
    """An emulated arm, for all tests of this file."""
    with alone() as host:
        yield host


@pytest.mark.parametrize("kind", KINDS)
def test_through_the_vendors_client_no_stream_of_targets_stops_the_arm(robot: str, kind: str) -> None:
    targets = Targets(kind, 1)
    with Franka("arm", healthy(robot), silence=20.0) as arm:
        sent = since = int(newest(arm)["t"])
        end, fastest = sent + 2500 * MS, np.zeros(7)
        while (now := int(newest(arm)["t"])) < end:
            if now >= sent:
                goal, ahead, pause = targets.next()
                arm.command(target(goal, now + ahead * MS))
                sent = now + pause * MS
            rows = arm.read(since)
            if len(rows):
                since, fastest = int(rows["t"][-1]), np.maximum(fastest, np.abs(rows["dq"]).max(axis=0))
            time.sleep(0.002)
        tell(f"{kind}: {np.round(fastest / SPEED_LIMIT, 2)} of the speeds that are allowed")
    assert (fastest < 0.95 * SPEED_LIMIT).all()
