"""Make ``.venv`` ready: Python 3.12, the packages of ``requirements.lock``, the project, and a library that can draw.

The Makefile runs this before everything else, with whichever python3 there is: standard library only, and nothing
newer than Python 3.8. It never asks, and writes only inside the checkout. Debian's packages are the one exception,
and only for root. A second run sees that nothing changed and ends at once. With ``--database`` it also sees to it
that the tests find a PostgreSQL server to start, with ``--browser`` a browser and an emulated headset, and with
``--terminal`` a terminal that the screen is shown in.
"""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it starts only what it names
from __future__ import annotations

import ctypes
import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"
STAMP = VENV / "ready"
UV = CACHE / "bootstrap" / "bin" / "uv"
PYTHON = "3.12"
INPUTS = ("requirements.lock", "pyproject.toml", "tools/uv.txt", "tools/setup_env.py")
GL_PACKAGES = ["libegl1", "libgl1-mesa-dri"]
USB_PACKAGES = ["libusb-1.0-0"]
SERVERS = Path("/usr/lib/postgresql")
INSTALL = "apt-get install -y --no-install-recommends "
BROWSER = "chromium-headless-shell"
TERMINAL = "tmux"
IWER = "iwer@2.5.0"
IWER_SHA512 = (
    "82babb88cc96a38b360d89c04ca2cf3e8001ca170dbb02e33071ce20bac553da"
    "bc1061c81331f252eab59b3fbd5eacbafb1ad83e7dc7a3c67d7b2999084f83eb"
)


def main() -> None:
    """Do what is missing, in order."""
    if is_ready():
        return
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_ready():
            return
        keep_caches_here()
        ensure_drawing()
        ensure_usb()
        ensure_uv()
        ensure_python()
        install()
        STAMP.write_text(wanted())


def wanted() -> str:
    """What ``.venv`` has to be made from. The place counts: a virtual environment cannot be moved."""
    whole = hashlib.sha256(str(ROOT).encode())
    for name in INPUTS:
        whole.update((ROOT / name).read_bytes())
    return whole.hexdigest()


def is_ready() -> bool:
    """Whether an earlier run made all of it."""
    return STAMP.exists() and STAMP.read_text() == wanted() and (VENV / "bin" / "python").exists()


def is_made_here() -> bool:
    """Whether ``.venv`` was made at this place; its commands begin with the path of its Python."""
    activate = VENV / "bin" / "activate"
    return activate.exists() and str(VENV) in activate.read_text()


def keep_caches_here() -> None:
    """Point the tools this script starts at the checkout, so that a home folder stays as it is."""
    os.environ["UV_CACHE_DIR"] = str(CACHE / "uv")
    os.environ["UV_PYTHON_INSTALL_DIR"] = str(CACHE / "python")
    os.environ["UV_PYTHON_BIN_DIR"] = str(CACHE / "python-bin")
    os.environ["PIP_CACHE_DIR"] = str(CACHE / "pip")
    os.environ["XDG_CACHE_HOME"] = str(CACHE / "xdg")
    os.environ.setdefault("UV_HTTP_TIMEOUT", "300")


def ensure_drawing() -> None:
    """The twin draws with EGL, on a graphics card or with Mesa on the processor."""
    if sys.platform == "linux" and not run_quietly([sys.executable, __file__, "--can-draw"]):
        apt(GL_PACKAGES, "the twin's cameras need EGL and a driver that draws without a screen")
        if not run_quietly([sys.executable, __file__, "--can-draw"]):
            refuse("EGL still does not start. Is a graphics driver half installed? `eglinfo` tells which one fails.")


def ensure_usb() -> None:
    """RealSense's library is linked against libusb, emulated cameras or not."""
    if sys.platform == "linux" and not has_usb():
        apt(USB_PACKAGES, "the RealSense cameras' library needs libusb")


def has_usb() -> bool:
    """Whether libusb can be loaded."""
    try:
        ctypes.CDLL("libusb-1.0.so.0")
    except OSError:
        return False
    return True


def ensure_database() -> None:
    """The tests start a PostgreSQL server of their own. Where there is none they skip what needs it, or fail in CI."""
    if has_database() or installed("postgresql", "the catalog is tested on it too"):
        return
    say(
        "There is no PostgreSQL server here, so the tests that need one are skipped. To have one, type:\n"
        f"  sudo {INSTALL}postgresql"
    )


def installed(packages: str, why: str) -> bool:
    """Install Debian packages if we may, and return whether they are there now."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    say(f"Installing {packages}: {why} ...")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    line = (INSTALL + packages).split()
    return run_quietly(line) or (run_quietly(["apt-get", "update", "-qq"]) and run_quietly(line))


def has_database() -> bool:
    """Whether a PostgreSQL server can be started here."""
    return bool(shutil.which("initdb") or list(SERVERS.glob("*/bin/initdb")))


def ensure_browser() -> None:
    """The tests put an emulated headset on a real browser. Without them they skip what needs them, or fail in CI."""
    needed = [BROWSER] if has_emulated_headset() else [BROWSER, "npm"]
    lacking = " ".join(name for name in needed if not shutil.which(name))
    if lacking and not installed(lacking, "a headset's page is tested in a browser"):
        say(
            "There is no headless Chromium here, or no npm, so the tests that need a browser are skipped. To have "
            f"them, type:\n  sudo {INSTALL}{lacking}"
        )
    elif not has_emulated_headset() and not fetch_emulated_headset():
        say(f"npm could not fetch {IWER}, so the tests that need an emulated headset are skipped.")


def ensure_terminal() -> None:
    """The tests show the screen in a real terminal. Where there is none they skip what needs one, or fail in CI."""
    if shutil.which(TERMINAL) or installed(TERMINAL, "the operator's screen is tested in a terminal"):
        return
    say(
        f"There is no {TERMINAL} here, so the tests that need it are skipped. To have it, type:\n"
        f"  sudo {INSTALL}{TERMINAL}"
    )


def emulated_headset() -> Path:
    """Where the WebXR emulator is kept."""
    return CACHE / (IWER.replace("@", "-") + ".min.js")


def has_emulated_headset() -> bool:
    """Whether it is there."""
    return emulated_headset().exists()


def fetch_emulated_headset() -> bool:
    """Fetch the WebXR emulator from npm, checked against its hash, and return whether that worked."""
    say(f"Fetching {IWER} ...")
    CACHE.mkdir(exist_ok=True)
    archive = CACHE / (IWER.replace("@", "-") + ".tgz")
    if not run_quietly(["npm", "pack", IWER, "--silent", "--ignore-scripts", "--pack-destination", str(CACHE)]):
        return False
    content = archive.read_bytes()
    archive.unlink()
    if hashlib.sha512(content).hexdigest() != IWER_SHA512:
        refuse(f"{IWER} is not what it was: its hash differs")
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        member = opened.extractfile("package/build/iwer.min.js")
        draft = emulated_headset().with_suffix(".part")
        draft.write_bytes(member.read() if member else b"")
        draft.replace(emulated_headset())
    return True


def ensure_uv() -> None:
    """Put uv, the installer, into a small virtual environment of its own."""
    pinned = (ROOT / "tools" / "uv.txt").read_text().split()[0].partition("==")[2]
    if pinned in said_by([str(UV), "--version"]).split():
        return
    say("Fetching the installer (uv) ...")
    home = UV.parent.parent
    if not any(run_quietly([python, "-m", "venv", "--clear", str(home)]) for python in pythons()):
        apt(["python3-venv"], "no Python here can make a virtual environment")
        run(["/usr/bin/python3", "-m", "venv", "--clear", str(home)])
    pip = [str(home / "bin" / "python"), "-m", "pip", "--no-input", "--disable-pip-version-check", "--quiet"]
    run([*pip, "install", "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "tools" / "uv.txt")])


def ensure_python() -> None:
    """Make ``.venv`` from a Python 3.12 that is here, else from one that uv fetches."""
    if version(str(VENV / "bin" / "python")) == PYTHON and is_made_here():
        return
    here = next((python for python in pythons() if version(python) == PYTHON), None)
    say(f"Making .venv from {here or f'Python {PYTHON}, which uv fetches'} ...")
    make = [str(UV), "venv", "--quiet", "--clear", "--python", here or PYTHON, str(VENV)]
    if here is None and not run_quietly(make):
        refuse(f"there is no Python {PYTHON} here, and uv could not fetch one. Install it, then run make again.")
    elif here is not None:
        run(make)


def install() -> None:
    """Make ``.venv`` hold exactly the lock, every file checked against its hash, and the project in place."""
    say("Installing the packages of requirements.lock. The first time this fetches some gigabytes ...")
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    into = ["--python", str(VENV / "bin" / "python")]
    run([str(UV), "pip", "sync", *quiet, *into, "--require-hashes", str(ROOT / "requirements.lock")])
    run([str(UV), "pip", "install", *quiet, *into, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    say("Ready.")


def pythons() -> list[str]:
    """Every Python worth trying, the best first."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    versions = [str(path) for path in sorted(pyenv.glob(f"versions/{PYTHON}*/bin/python{PYTHON}"), reverse=True)]
    named = [shutil.which(f"python{PYTHON}"), *versions, sys.executable, "/usr/bin/python3"]
    return [python for python in named if python]


def version(python: str) -> str:
    """Return e.g. ``3.12``; empty when it does not run."""
    return said_by([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])


def apt(packages: list[str], why: str) -> None:
    """Install Debian packages as root; otherwise say what to type."""
    line = INSTALL + " ".join(packages)
    if shutil.which("apt-get") is None:
        refuse(f"{why}. Install what your system calls {' and '.join(packages)}, then run make again.")
    if os.geteuid() != 0:
        refuse(f"{why}. Type this line, then run make again:\n  sudo {line}")
    say(f"Installing {' and '.join(packages)}: {why} ...")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    if not run_quietly(line.split()):
        run(["apt-get", "update", "-qq"])
        run(line.split())


def can_draw() -> bool:
    """Whether some EGL device starts, found the way MuJoCo finds it."""
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    query, display = egl.eglGetProcAddress(b"eglQueryDevicesEXT"), egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not display:
        return False
    devices, found = (ctypes.c_void_p * 16)(), ctypes.c_int(0)
    ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(query)(
        16, devices, ctypes.byref(found)
    )
    open_display = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)(display)
    platform_device = 0x313F
    shown = (open_display(platform_device, device, None) for device in devices[: found.value])
    return any(handle and egl.eglInitialize(ctypes.c_void_p(handle), None, None) for handle in shown)


def run(command: list[str]) -> None:
    """Run to the end, showing what it says; a failure ends the setup."""
    if (code := subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode) != 0:
        refuse(f"this failed ({code}): {' '.join(command)}")


def said_by(command: list[str]) -> str:
    """Return what a command says; empty when it does not run."""
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return said.stdout.strip()


def run_quietly(command: list[str]) -> bool:
    """Run to the end, showing nothing, and return whether it worked."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def say(text: str) -> None:
    """Tell the person what is going on."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def refuse(text: str) -> None:
    """Say what is wrong, and end."""
    say(f"setup: {text}")
    raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:] == ["--can-draw"]:
        raise SystemExit(0 if can_draw() else 1)
    main()
    if "--database" in sys.argv:
        ensure_database()
    if "--browser" in sys.argv:
        ensure_browser()
    if "--terminal" in sys.argv:
        ensure_terminal()
