"""A Franka arm with its hand, over the Franka Control Interface."""

from drivers.franka.arm import Franka

__all__ = ["Franka"]
