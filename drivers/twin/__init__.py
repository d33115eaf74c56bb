"""Whole cells in simulation, behind the same protocols as the real ones."""

from drivers.twin.missing import explain

try:  # ruff: ignore[non-empty-init-module] - whoever names the twin should read what to install
    from drivers.twin.table import FrankaTable
except AttributeError as error:
    # MuJoCo opens the graphics library that MUJOCO_GL names while it is imported, and says no more than this.
    if "NoneType" not in str(error):
        raise
    raise ImportError(explain(str(error))) from error

__all__ = ["FrankaTable"]
