"""An ALOHA pair in simulation, behind the same protocols as the real one."""

from drivers.twin.aloha.table import AlohaTable

__all__ = ["AlohaTable"]
