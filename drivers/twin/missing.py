"""What a machine lacks to draw with, in words that name the Debian packages."""

PACKAGES = "apt-get install --no-install-recommends libegl1 libgl1-mesa-dri"
"""Debian's packages that draw without a screen and without a graphics card."""


def explain(error: str) -> str:
    """Say what is missing on this machine, given what the graphics libraries say, which names no package."""
    if "eglQueryString" in error:
        missing = "EGL is not installed (no libEGL.so.1)"
    elif "glGetError" in error:
        missing = "OSMesa is not installed (no libOSMesa.so.8); unset MUJOCO_GL to use EGL"
    elif "EGL device display" in error:
        missing = "EGL finds no driver to draw with (no libEGL_mesa.so.0, or no swrast_dri.so)"
    elif "platform library has not been loaded" in error:
        missing = "there is no screen to draw on, and nothing that draws without one"
    else:
        missing = f"drawing failed ({error})"
    return f"the twin's cameras cannot see: {missing}. On Debian: {PACKAGES}"
