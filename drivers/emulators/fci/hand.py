"""The emulated hand: it answers a request when the fingers have arrived, or have met something."""

import struct
from dataclasses import dataclass
from typing import cast

from drivers.emulators.fci import wire
from drivers.emulators.fci.plant import Plant
from drivers.emulators.fci.wire import HandRequest

WIDEST = 0.08
"""How far the fingers open, in metres."""

STRENGTH = 40.0
"""Most that a finger presses while it moves, in newtons."""

STILL, STALLED = 0.002, 80
"""Fingers slower than this (m/s), for so many milliseconds, have arrived or have met something."""

ARRIVED = 0.001
"""Fingers this close to where they were sent (m) are there."""

EVERY = 33
"""Milliseconds between two states; the real hand streams well below the arm's rate."""


@dataclass
class _Job:
    """One request whose answer waits for the fingers."""

    request: HandRequest
    number: int
    width: float
    speed: float
    force: float = STRENGTH
    least: float = 0.0
    most: float = 1.0
    still: int = 0


class Hand:
    """The hand's controller and its TCP server, on top of the plant's fingers."""

    def __init__(self, host: str, plant: Plant) -> None:
        self.door = wire.Door(host, wire.HAND_PORT, wire.HAND_HEADER)
        self.plant = plant
        self.grasped = False
        self._job: _Job | None = None
        self._at, self._force = plant.width, STRENGTH
        self._held = 0.0
        self._clock = 0

    def restart(self) -> None:
        """Hold the fingers where they are, grasping nothing."""
        self._finish(wire.HAND_ABORTED)
        self._at, self._force, self.grasped = self.plant.width, STRENGTH, False

    def listen(self) -> None:
        """Let a client in, and take what it asks."""
        self.door.admit()
        if self.door.guest is None:
            return
        try:
            for request, number, content in self.door.guest.requests():
                self._ask(HandRequest(request), number, content)
        except (ConnectionError, ValueError, struct.error):
            self._job = None
            self.door.dismiss()

    def _ask(self, request: HandRequest, number: int, content: bytes) -> None:
        guest = cast("wire.Connection", self.door.guest)
        if request is HandRequest.CONNECT:
            wire.welcome(guest, number, content, wire.HAND_VERSION, "H")
            return
        self._finish(wire.HAND_ABORTED)
        self._at = self.plant.width if not self.grasped or request is not HandRequest.STOP else self._at
        if request is HandRequest.STOP:
            self._answer(request, number, wire.HAND_OK)
            return
        self.grasped = False
        if request is HandRequest.HOMING:
            self._job = _Job(request, number, WIDEST, 0.1)
        elif request is HandRequest.MOVE:
            width, speed = struct.unpack("<2d", content)
            self._job = _Job(request, number, min(max(width, 0.0), WIDEST), max(speed, 0.001))
        else:
            width, inner, outer, speed, force = struct.unpack("<5d", content)
            job = _Job(request, number, max(width, 0.0), max(speed, 0.001), force, width - inner, width + outer)
            self._job = job
        self._force = self._job.force

    def pass_time(self) -> None:
        """Let a millisecond pass for the fingers' set point, and answer what is finished."""
        self._clock += 1
        job = self._job
        if job is not None:
            step = job.speed * 0.001
            self._at += min(max(job.width - self._at, -step), step)
            moving = abs(self.plant.closing) > STILL or abs(self._at - job.width) > step
            job.still = 0 if moving else job.still + 1
            there = abs(self.plant.width - job.width) < ARRIVED and job.request is not HandRequest.GRASP
            if job.still > STALLED or (there and not moving):
                self._finish(self._judged(job))
        elif self.grasped and abs(self.plant.width - self._held) > 0.005:
            self.grasped = False
        self.plant.grip(self._at, self._force)

    def _judged(self, job: _Job) -> int:
        """Whether the fingers did what they were asked for; what they grasped is held from now on."""
        width = self.plant.width
        if job.request is HandRequest.GRASP:
            self.grasped = job.least < width < job.most
            self._held, self._at = width, width - 2 * job.force / self.plant.stiffness
            return wire.HAND_OK if self.grasped else wire.HAND_UNSUCCESSFUL
        if abs(width - job.width) < 0.003:
            return wire.HAND_OK
        return wire.HAND_FAILED

    def _finish(self, status: int) -> None:
        if self._job is not None:
            job, self._job = self._job, None
            self._answer(job.request, job.number, status)

    def _answer(self, request: HandRequest, number: int, status: int) -> None:
        if self.door.guest is not None:
            try:
                self.door.guest.reply(request, number, struct.pack("<H", status))
            except OSError:
                self.door.dismiss()

    def tell(self) -> None:
        """Send the hand's state, when it is time."""
        if self._clock % EVERY == 0:
            state = (self._clock & 0xFFFFFFFF, self.plant.width, WIDEST, self.grasped, 30)
            self.door.send(wire.HAND_STATE.pack(*state))

    def close(self) -> None:
        self.door.close()
