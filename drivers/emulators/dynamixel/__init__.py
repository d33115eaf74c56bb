"""A Dynamixel bus without servos: Protocol 2.0, the servos' memory, joints that move, and faults on demand."""

from drivers.emulators.dynamixel.arm import arm, follower, leader
from drivers.emulators.dynamixel.bus import Bus, Faults
from drivers.emulators.dynamixel.joint import Drive, Feel, Joint, Plant
from drivers.emulators.dynamixel.port import MemoryPort, plug, served
from drivers.emulators.dynamixel.servo import Servo

__all__ = [
    "Bus",
    "Drive",
    "Faults",
    "Feel",
    "Joint",
    "MemoryPort",
    "Plant",
    "Servo",
    "arm",
    "follower",
    "leader",
    "plug",
    "served",
]
