"""Whole cells in simulation, behind the same protocols as the real ones."""

from drivers.twin.table import FrankaTable

__all__ = ["FrankaTable"]
