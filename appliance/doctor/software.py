"""What is installed: Python, the vendors' SDKs, what draws, what learns."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.doctor.finding import Finding, bad, fine, warn
from appliance.doctor.program import python

SLOW = 40.0
"""Seconds that an import may take, on a machine that is busy."""


@dataclass(frozen=True)
class Sdk:
    """A package of a vendor, as Python imports it and as it is installed."""

    module: str
    package: str
    extra: str


FRANKA = Sdk("franky", "franky-control", "hardware")
DYNAMIXEL = Sdk("dynamixel_sdk", "dynamixel-sdk", "hardware")
REALSENSE = Sdk("pyrealsense2", "pyrealsense2", "hardware")
OPENXR = Sdk("xr", "pyopenxr", "hardware")
WEBSOCKETS = Sdk("websockets", "websockets", "hardware")
CRYPTOGRAPHY = Sdk("cryptography", "cryptography", "hardware")
MUJOCO = Sdk("mujoco", "mujoco", "twin")

SDKS = (FRANKA, DYNAMIXEL, REALSENSE, OPENXR, WEBSOCKETS, CRYPTOGRAPHY, MUJOCO)

NEEDS = {
    "drivers.franka": {FRANKA},
    "drivers.dynamixel": {DYNAMIXEL},
    "drivers.realsense": {REALSENSE},
    "drivers.openxr": {OPENXR},
    "drivers.webxr": {WEBSOCKETS, CRYPTOGRAPHY},
    "drivers.twin": {MUJOCO},
    "drivers.emulators.fci": {FRANKA, MUJOCO},
    "drivers.emulators.dynamixel": {DYNAMIXEL, MUJOCO},
    "drivers.emulators.realsense": {REALSENSE},
    "drivers.emulators.openxr": {OPENXR},
}
"""What a driver cannot do without, by the beginning of its path."""

BUSY = "Type this again when the machine is less busy"

LIBRARIES = {
    "libusb-1.0": "sudo apt-get install libusb-1.0-0",
    "libudev": "sudo apt-get install libudev1",
    "libGL": "sudo apt-get install --no-install-recommends libegl1 libgl1-mesa-dri",
}
"""Debian's packages of the system's libraries that an import may miss."""

_ASK = (
    "import sys, importlib, importlib.metadata as m; importlib.import_module(sys.argv[1]); "
    "print(m.version(sys.argv[2]))"
)

_DRAW = """
import mujoco
from drivers.device import DeviceError
from drivers.twin.picture import Painter
xml = "<mujoco><worldbody><camera name='here'/><geom size='1'/></worldbody></mujoco>"
model = mujoco.MjModel.from_xml_string(xml)
try:
    Painter(model, (8, 8)).draw("here", model.qpos0[None])
except DeviceError as error:
    raise SystemExit(str(error))
"""

_TORCH = """
import json, torch
cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps([torch.__version__, torch.version.cuda, torch.cuda.is_available(), cards]))
"""


def needed(drivers: Sequence[str]) -> set[Sdk]:
    """What these drivers, as a station file names them, cannot do without."""
    return {
        sdk for beginning, sdks in NEEDS.items() for driver in drivers if driver.startswith(beginning) for sdk in sdks
    }


def sdk(which: Sdk, wanted: bool | None, limit: float = SLOW) -> list[Finding]:
    """Import a vendor's package, in a program of its own. Nobody knows whether it is ``wanted`` without a station."""
    about = f"SDK {which.package}"
    answer = python(["-c", _ASK, which.module, which.package], limit)
    if not answer.error:
        return [fine(about, f"{answer.out.strip()} imports")]
    install = f"pip install 'appliance[{which.extra}]'"
    if f"No module named '{which.module}'" in answer.error:
        if wanted is False:
            return [fine(about, "is not installed; this station does not need it")]
        say = bad if wanted else warn
        return [say(about, "is not installed" + ("; this station needs it" if wanted else ""), install)]
    if answer.late:
        return [warn(about, f"is installed, but {answer.error}", BUSY)]
    fix = next((line for library, line in LIBRARIES.items() if library in answer.error), f"{install} --force-reinstall")
    return [(warn if wanted is False else bad)(about, f"is installed, but does not import: {answer.error}", fix)]


def drawing(wanted: bool) -> list[Finding]:
    """Draw a small picture as the twin's cameras do."""
    about = "GL for the twin's cameras"
    answer = python(["-c", _DRAW], SLOW)
    if not answer.error:
        return [fine(about, "draws without a screen")]
    if "No module named 'mujoco'" in answer.error and not wanted:
        return [fine(about, "MuJoCo is not installed; this station does not need it")]
    if answer.late:
        return [warn(about, answer.error, BUSY)]
    what, _, packages = answer.error.partition(". On Debian: ")
    return [(bad if wanted else warn)(about, what, f"sudo {packages}" if packages else "pip install 'appliance[twin]'")]


def interpreter(version: tuple[int, ...] = sys.version_info[:3]) -> list[Finding]:
    """Look at the Python that runs this."""
    said = ".".join(map(str, version))
    if version < (3, 12):
        return [bad("Python", f"{said} is too old: 3.12 or newer is needed", "make setup")]
    return [fine("Python", said)]


def learning() -> list[Finding]:
    """See whether this machine can learn, and on what."""
    answer = python(["-c", _TORCH], SLOW)
    if "No module named" in answer.error:
        return [fine("torch", "is not installed: this machine collects, another one learns")]
    if answer.late:
        return [warn("torch", answer.error, BUSY)]
    if answer.error:
        return [warn("torch", f"does not import: {answer.error}", "pip install 'appliance[learn]' --force-reinstall")]
    return [_cards(*json.loads(answer.out))]


def _cards(version: str, cuda: str | None, works: bool, cards: Sequence[str]) -> Finding:
    if works:
        return fine("torch", f"{version} with CUDA {cuda} on {', '.join(cards)}")
    if cuda is None:
        return fine("torch", f"{version}, without CUDA: it learns on the processor")
    return fine("torch", f"{version}; no graphics card that CUDA {cuda} can use: it learns on the processor")
