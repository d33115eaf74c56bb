"""Which code this is, so that every episode and policy can say what made it."""

# ruff: file-ignore[suspicious-subprocess-import, subprocess-without-shell-equals-true] - it asks git, nothing else
import functools
import importlib.metadata
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


@functools.cache
def revision() -> str:
    """Return the git revision of this checkout, marked when files differ from it; else the package's version."""
    if not (ROOT / ".git").exists():
        return importlib.metadata.version("appliance")
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        said = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return importlib.metadata.version("appliance")
    return said.stdout.strip()
