"""The systemd unit that runs the daemon: from boot on, again after a fault, and with no more rights than it needs."""

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.home import Home
from ops.backup import remembered
from storage.copying import file_of

SECRETS = "serve.env"
"""The file of the data folder with what may not be read by everybody, e.g. the database's password."""

TEMPLATE = """\
# appliance serve --unit | sudo tee /etc/systemd/system/appliance.service
# sudo systemctl daemon-reload && sudo systemctl enable --now appliance
{hint}[Unit]
Description=Appliance: learns in the background, tries what it has learned, and backs up
Wants=time-sync.target
After=time-sync.target network-online.target local-fs.target{server}
Wants=network-online.target
RequiresMountsFor={mounts}
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
Environment={environment}
EnvironmentFile=-{secrets}
WorkingDirectory={home}
ExecStart={command}
Restart=on-failure
RestartSec=5
# What is being done is stored within seconds; whatever is left is then killed, and gone on with after the restart.
KillMode=mixed
TimeoutStopSec=5
# A person at the same machine goes first.
Nice=10
IOSchedulingClass=idle
UMask=0027

NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
PrivateTmp=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""


def unit(
    home: Home, arguments: Sequence[str] = (), writable: Sequence[Path] = (), user: str = "", python: Path | None = None
) -> str:
    """Return the unit's text.

    Args:
        home: the data folder, which the daemon may write to.
        arguments: of ``appliance serve``.
        writable: what else it may write to, beside where the last backup went.
        user: who runs it; by default whoever asks.
        python: the interpreter.
    """
    command = [str(python or Path(sys.executable).absolute()), "-m", "appliance.cli", "serve", *arguments]
    mounted = [home.store] if home.store and "://" not in home.store else []
    folders = [str(folder) for folder in (home.folder, *_elsewhere(home), *mounted, *writable)]
    if (backup := remembered(home.folder).get("backup", {}).get("to")) is not None:
        folders.append(f"-{backup}")  # the daemon begins without it, when that disk is not there
    on_server = file_of(home.database) is None
    told = (("APPLIANCE_DATABASE=...", on_server), ("AWS_*=...", home.store.startswith("s3")))
    secret = [name for name, there in told if there]
    hint = f"# {' and '.join(secret)} belongs into {home.folder / SECRETS}, chmod 600: this file is for everybody.\n"
    return TEMPLATE.format(
        hint=hint if secret else "",
        server=" postgresql.service" if on_server else "",
        user=user or getpass.getuser(),
        environment=" ".join(map(_quoted, _environment(home))),
        secrets=_plain(home.folder / SECRETS),
        home=_plain(home.folder),
        mounts=_quoted(str(home.folder)),
        command=" ".join(map(_word, command)),
        writable=" ".join(map(_quoted, dict.fromkeys(folders))),
    )


def _environment(home: Home) -> list[str]:
    """What the daemon has to know. A server's address may hold a password, and is not among it, nor are ``AWS_*``."""
    told = [f"APPLIANCE_HOME={home.folder}", f"MPLCONFIGDIR={home.folder / 'cache'}", "PYTHONUNBUFFERED=1"]
    if home.store:
        told.append(f"APPLIANCE_STORE={home.store}")
    if file_of(home.database) not in {None, home.folder / "catalog.db"}:
        told.append(f"APPLIANCE_DATABASE={home.database}")
    return [*told, *(f"{name}={os.environ[name]}" for name in ("HF_HOME", "HF_HUB_OFFLINE") if name in os.environ)]


def _elsewhere(home: Home) -> list[Path]:
    """The folder of a catalog that is a file outside of the data folder."""
    file = file_of(home.database)
    return [] if file is None or file.is_relative_to(home.folder) else [file.parent]


def _quoted(text: str) -> str:
    """As systemd reads a value with spaces; its % begins a specifier, so that two are one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if any(letter in escaped for letter in " \t'\"\\;") else escaped


def _word(text: str) -> str:
    """The same for a command's words, in which $ would be a variable."""
    return _quoted(text).replace("$", "$$")


def _plain(path: Path) -> str:
    """A path that is a whole value, which is not quoted."""
    return str(path).replace("%", "%%")
