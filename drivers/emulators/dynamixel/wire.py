"""Protocol 2.0 on the wire: packets in and out of bytes, as a servo does it. Knows nothing of the vendor's SDK."""

from typing import NamedTuple

PING, READ, WRITE, REG_WRITE, ACTION, FACTORY_RESET, REBOOT, CLEAR = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x08, 0x10
STATUS = 0x55
SYNC_READ, SYNC_WRITE, FAST_SYNC_READ = 0x82, 0x83, 0x8A
BULK_READ, BULK_WRITE, FAST_BULK_READ = 0x92, 0x93, 0x9A
"""Instructions."""

FAILED, UNKNOWN, BAD_CRC, RANGE, LENGTH, LIMIT, ACCESS, ALERT = 1, 2, 3, 4, 5, 6, 7, 0x80
"""Errors of a status packet. ``ALERT`` comes on top: the hardware error register is not zero."""

EVERYONE = 0xFE
"""The id that all servos listen to."""

HEADER = b"\xff\xff\xfd\x00"
_MARK, _STUFFED = b"\xff\xff\xfd", b"\xff\xff\xfd\xfd"


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return tuple(table)


_CRC = _table()


def checksum(data: bytes) -> int:
    """Return the CRC-16 of a packet, all but its last two bytes."""
    crc = 0
    for byte in data:
        crc = ((crc << 8) & 0xFFFF) ^ _CRC[(crc >> 8) ^ byte]
    return crc


class Instruction(NamedTuple):
    """What a packet asks for."""

    id: int
    code: int
    parameters: bytes
    length: int
    """Bytes it took on the wire."""


def status(id: int, error: int, parameters: bytes = b"") -> bytes:  # ruff: ignore[builtin-argument-shadowing] - it is what the protocol calls it
    """Return a servo's answer."""
    return _packet(id, bytes([STATUS, error]) + parameters)


def fast_status(answers: list[tuple[int, int, bytes]]) -> bytes:
    """Return the one answer that several servos write together: id, error and data of each, in the order asked."""
    length = 1 + sum(len(data) + 4 for _, _, data in answers)
    packet = HEADER + bytes([EVERYONE]) + length.to_bytes(2, "little") + bytes([STATUS])
    for id_, error, data in answers:
        packet += bytes([error, id_]) + data
        packet += checksum(packet).to_bytes(2, "little")
    return packet


def _packet(id_: int, body: bytes) -> bytes:
    body = body.replace(_MARK, _STUFFED)
    packet = HEADER + bytes([id_]) + (len(body) + 2).to_bytes(2, "little") + body
    return packet + checksum(packet).to_bytes(2, "little")


class Ear:
    """Picks instructions out of a stream of bytes, wherever it is cut."""

    def __init__(self) -> None:
        self.misheard = 0
        """Packets that were not understood, and so not answered."""
        self._heard = b""

    def hear(self, data: bytes) -> list[Instruction]:
        """Take bytes, and return the packets that are now complete."""
        self._heard += data
        found: list[Instruction] = []
        while True:
            start = self._heard.find(HEADER)
            if start < 0:
                self._heard = self._heard[-3:]
                return found
            self._heard = self._heard[start:]
            whole = int.from_bytes(self._heard[5:7], "little") + 7 if len(self._heard) >= 7 else 0
            if not whole or len(self._heard) < whole:
                return found
            packet, self._heard = self._heard[:whole], self._heard[whole:]
            unescaped = _MARK in packet[7:-2].replace(_STUFFED, b"")
            if unescaped or whole < 10 or checksum(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
                self.misheard += 1
            else:
                body = packet[7:-2].replace(_STUFFED, _MARK)
                found.append(Instruction(packet[4], body[0], body[1:], whole))
