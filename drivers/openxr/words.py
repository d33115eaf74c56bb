"""What the person with the headset is told."""

import os
import sys
from pathlib import Path

START = (
    "start WiVRn, SteamVR (with ALVR for a Quest) or Monado, then put the headset on"
    if sys.platform != "win32"
    else "start SteamVR or Virtual Desktop, or Quest Link with its runtime set as active, then put the headset on"
)


def no_runtime() -> str:
    """Why no OpenXR runtime answers, and what to start."""
    return f"no OpenXR runtime answers: {_named()}; {START} (XR_LOADER_DEBUG=error prints what the loader finds)"


def _named() -> str:
    chosen = os.environ.get("XR_RUNTIME_JSON", "")
    if chosen:
        there = "which is not there" if not Path(chosen).is_file() else "whose runtime does not start"
        return f"XR_RUNTIME_JSON names {chosen}, {there}"
    if sys.platform == "win32":
        return "XR_RUNTIME_JSON is not set, so the registry's active runtime counts"
    found = [str(path) for path in _manifests() if path.exists()]
    if found:
        return f"{found[0]} names a runtime that does not start"
    return f"XR_RUNTIME_JSON is not set, and there is no {' or '.join(str(path) for path in _manifests())}"


def _manifests() -> list[Path]:
    """Where the loader looks on Linux, the person's own file first."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return [folder / "openxr" / "1" / "active_runtime.json" for folder in (home, Path("/etc/xdg"))]


def no_headset(runtime: str) -> str:
    """What to do when the runtime runs, but no headset is connected to it."""
    return f"{runtime} runs, but no headset is connected to it: switch the headset on and connect it"


def no_session(headless: str, offered: set[str]) -> str:
    """Why no session can be had, given the extensions the runtime offers."""
    if headless == "yes":
        return (
            'the active OpenXR runtime has no sessions without pictures (XR_MND_headless); set headless = "auto", or '
            "use WiVRn, Monado, SteamVR or Virtual Desktop's runtime, which have"
        )
    return (
        f"the active OpenXR runtime takes neither sessions without pictures (XR_MND_headless) nor OpenGL "
        f"(XR_KHR_opengl_enable); it offers {', '.join(sorted(offered)) or 'no extensions'}; "
        "use WiVRn, Monado or SteamVR"
    )
