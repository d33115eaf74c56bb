"""The arms of an ALOHA pair as servos on a bus: nine servos that turn six joints and a gripper."""

import math
from collections.abc import Callable, Mapping, Sequence

from drivers.clock import Clock
from drivers.dynamixel import registers as at
from drivers.dynamixel.layout import FOLLOWER, LEADER, Layout
from drivers.dynamixel.registers import TURN
from drivers.emulators.dynamixel.bus import Bus
from drivers.emulators.dynamixel.joint import Joint, Plant
from drivers.emulators.dynamixel.servo import Servo

RESTING = (2048, 841, 3094, 2048, 2048, 2048, 2600)
"""Positions of an arm that lies folded on itself, gripper half open."""


def arm(layout: Layout, clock: Clock, joints: Sequence[Plant]) -> Bus:
    """Return a bus with an arm's servos, set up as for ALOHA, on seven joints: six of the arm, and the gripper."""
    servos = []
    for joint, plant in zip(layout.joints, joints, strict=True):
        for id_, model in zip(joint.ids, joint.models, strict=True):
            master = 255 if id_ == joint.ids[0] else joint.ids[0]
            servo = Servo(id_, model, plant, master=master)
            servo.put(at.RETURN_DELAY, 0)
            servo.put(at.DRIVE_MODE, 0 if master == 255 else at.REVERSED)
            servos.append(servo)
    bus = Bus(servos, clock)
    bus.pass_time()
    return bus


def follower(clock: Clock, resting: Sequence[int] = RESTING) -> Bus:
    """Return a follower arm that lies at rest, gripper limited to a current of 200 as ALOHA's is."""
    bus = arm(FOLLOWER, clock, [Joint(position) for position in resting])
    gripper = bus[FOLLOWER.gripper.ids[0]]
    gripper.put(at.OPERATING_MODE, at.CURRENT_POSITION)
    gripper.put(at.CURRENT_LIMIT, 200)
    return bus


def leader(clock: Clock, hand: Mapping[int, Callable[[float], float]], resting: Sequence[int] = RESTING) -> Bus:
    """Return a leader arm in a person's hand: ``hand`` says where joint 0 to 6 is held, in positions after seconds."""
    return arm(LEADER, clock, [Joint(position, hand.get(i)) for i, position in enumerate(resting)])


def swing(resting: Sequence[int] = RESTING, reach: int = 200) -> dict[int, Callable[[float], float]]:
    """Return a hand that moves every joint gently to and fro, from where it rests, one slower than the next."""

    def path(i: int) -> Callable[[float], float]:
        inward = 1 if resting[i] < TURN // 2 else -1
        return lambda s: resting[i] + inward * reach * (1 - math.cos(s / (1 + i / 4)))

    return {i: path(i) for i in range(len(resting))}
