"""The emulated arm's server: requests over TCP, a state and a command every millisecond over UDP."""

import struct
from typing import cast

import numpy as np

from drivers.device import Row
from drivers.emulators.fci import wire
from drivers.emulators.fci.arm import Arm
from drivers.emulators.fci.wire import Request


class Robot:
    """The wire between one client and the arm.

    An answer leaves after the state that shows its effect: clients look at the newest state as soon as they are
    answered.
    """

    def __init__(self, host: str, arm: Arm) -> None:
        self.door = wire.Door(host, wire.ROBOT_PORT, wire.ROBOT_HEADER)
        self.arm = arm
        self.version = wire.ROBOT_VERSION
        self.lose = 0
        """So many of the next commands are lost on the line."""

        self.silent = 0
        """For so many milliseconds no state leaves."""

        self.answered = 0
        """The robot's time of the newest state that the client has answered."""

        self._command: Row | None = None
        self._replies: list[tuple[int, int, bytes]] = []

    def listen(self) -> None:
        """Let a client in, and do what it asks."""
        self.door.admit()
        guest = self.door.guest
        if guest is None:
            return
        try:
            for request, number, content in guest.requests():
                self._ask(guest, Request(request), number, content)
        except (ConnectionError, ValueError, struct.error):
            self.hang_up()

    def _ask(self, guest: wire.Connection, request: Request, number: int, content: bytes) -> None:
        status = wire.OK
        if request is Request.CONNECT:
            if not wire.welcome(guest, number, content, self.version, "B"):
                return
            self.answered = 0
            return
        if request is Request.GET_ROBOT_MODEL:
            self._replies.append((request, number, bytes([wire.OK]) + self.arm.shape.urdf.encode()))
            return
        if request is Request.MOVE:
            status = self.arm.begin(number, content)
            self.answered = 0
        elif request is Request.STOP_MOVE:
            self.arm.stop()
        elif request is Request.AUTOMATIC_ERROR_RECOVERY:
            status = self.arm.recover()
        else:
            status = self.arm.set(request, content)
        self._replies.append((request, number, bytes([status])))

    def hear(self) -> None:
        """Take the commands that have arrived; the newest counts."""
        try:
            while True:
                received = self.door.states.recv(2048)
                if len(received) == wire.COMMAND.itemsize:
                    self._command = cast("Row", np.frombuffer(received, wire.COMMAND)[0])
                    self.answered = max(self.answered, int(self._command["message_id"]))
        except OSError:  # nothing more there, or the client's port is closed
            return

    def take(self) -> Row | None:
        """Return the newest command since the last time, unless it is to be lost."""
        self.hear()
        command, self._command = self._command, None
        if command is not None and self.lose > 0:
            self.lose -= 1
            return None
        return command

    def tell(self) -> None:
        """Send the state, then the answers that were waiting for it."""
        if self.silent > 0:
            self.silent -= 1
        else:
            self.door.send(self.arm.state.tobytes())
        if self.arm.ended is not None:
            number, status = self.arm.ended
            self.arm.ended = None
            self._replies.append((Request.MOVE, number, bytes([status])))
        replies, self._replies = self._replies, []
        if self.door.guest is not None:
            try:
                for request, number, content in replies:
                    self.door.guest.reply(request, number, content)
            except OSError:
                self.hang_up()

    def hang_up(self) -> None:
        """Lose the connection. A move that runs then misses its commands, as it would if the client had died."""
        self._replies.clear()
        self.door.dismiss()

    @property
    def waiting(self) -> bool:
        """Whether a client is here that should answer the last state."""
        move = self.arm.move
        return move is not None and self.door.guest is not None and not self.silent and self.answered < self.arm.clock

    def close(self) -> None:
        self.door.close()
