"""Imports pyopenxr, and leaves PyOpenGL as it was.

On Linux pyopenxr tells PyOpenGL to draw through GLX. Whoever draws without a display in the same program, as MuJoCo
does, could not any more.
"""

import sys

_before = sys.modules.get("OpenGL.platform")
_platform = getattr(_before, "PLATFORM", None)

import xr  # ruff: ignore[module-import-not-at-top-of-file]  # what PyOpenGL was has to be known first

if _before is not None:
    _before.PLATFORM = _platform  # type: ignore[attr-defined]  # PyOpenGL has no types
else:
    for _name in [name for name in sys.modules if name.partition(".")[0] == "OpenGL"]:
        del sys.modules[_name]

__all__ = ["xr"]
