"""The arms of an ALOHA pair, on Dynamixel servos: one that a hand moves, one that follows."""

from drivers.dynamixel.calibrate import calibrate
from drivers.dynamixel.follower import Follower
from drivers.dynamixel.layout import BY_HAND, FOLLOWER, LEADER, Calibration, Layout
from drivers.dynamixel.leader import Leader

__all__ = ["BY_HAND", "FOLLOWER", "LEADER", "Calibration", "Follower", "Layout", "Leader", "calibrate"]
