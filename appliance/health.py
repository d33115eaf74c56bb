"""Whether the appliance is well: its disk, clock, queue, workers, cameras, GPU, backups, nights. Looks only.

It finds what the doctor finds of a machine, and in addition how things go from day to day. All that it writes is one
line of how far apart two clocks are, so that the next look can tell whether somebody has set one of them.
"""

import json
import subprocess  # ruff: ignore[suspicious-subprocess-import] - it asks nvidia-smi, nothing else
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import disk_usage, which
from typing import Any

from appliance.doctor import machine, store
from appliance.doctor.finding import Check, Finding, Level, bad, fine, warn
from appliance.doctor.kernel import text
from appliance.home import Home
from ops.backup import remembered
from storage import Listed, StreamRow, Unavailable, Wanted
from storage.arrays import replace_json
from storage.engine import version_at
from storage.migrate import HEAD

CLOCKS = Path("cache", "clocks.json")
"""How far the wall clock and the one since boot were apart at the last look."""

DAY, HOUR, GIGA = 86400.0, 3600.0, 1e9
FAR = 10
"""Years after which it does not matter when a disk is full."""

BEAT = 3.0
"""Seconds in which a living worker counts at least once."""

GRAPHICS = ("name", "temperature.gpu", "memory.used", "memory.total", "utilization.gpu")


@dataclass(frozen=True)
class Limits:
    """From when on something is worth a look, and from when on it is bad."""

    days: tuple[float, float] = (14.0, 3.0)
    """Days until the disk is full, at the pace of the last week."""
    share: tuple[float, float] = (0.1, 0.03)
    """Of the disk, how much is free."""
    jump: float = 1.0
    """Seconds that the wall clock was set by since the last look."""
    slew: float = 1e-3
    """Seconds for each second that the wall clock may be corrected by all the same."""
    waiting: tuple[float, float] = (6 * HOUR, DAY)
    """Seconds that a job waits for its turn."""
    silent: float = 2 * HOUR
    """Seconds in which a running job has not said how far it is."""
    backup: tuple[float, float] = (2 * DAY, 7 * DAY)
    """Seconds since the last good backup."""
    check: tuple[float, float] = (3 * DAY, 14 * DAY)
    """Seconds since a backup was last restored for a try."""
    camera_gap: float = 0.5
    """The largest gap of a camera, in seconds."""
    camera_lost: float = 2.0
    """Images lost on the way, in per cent."""
    stations: float = 30 * DAY
    """Seconds after which nobody asks for a station's cameras any more."""
    hot: tuple[float, float] = (83.0, 92.0)
    """Degrees Celsius of a GPU; and of whatever else has no limit of its own."""


@dataclass(frozen=True)
class Health:
    """Looks at one appliance."""

    home: Home
    limits: Limits = Limits()
    root: Path = Path("/")
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME)
    sleep: Callable[[float], None] = time.sleep
    free: Callable[[Path], tuple[int, int]] = field(default=lambda path: _room(path))
    """Of the disk that a folder is on, the bytes that are free, and all."""

    def checks(self) -> list[Check]:
        """Everything there is to look at; `appliance.doctor.finding.examine` looks."""
        folder = self.home.folder
        return [
            Check("data folder", partial(store.folder, folder, self.root)),
            Check("disk", self.disk),
            Check("staging", partial(store.leftovers, folder)),
            Check("catalog", partial(store.catalog, self.home.database)),
            Check("clock", partial(machine.synced, self.root)),
            Check("clock's pace", self.clock),
            Check("queue", self.queue, 20),
            Check("workers", self.workers, 20),
            Check("cameras", self.cameras),
            Check("GPU", self.graphics),
            Check("temperature", self.temperature),
            Check("backup", partial(self.safe, "backup", "backup", self.limits.backup)),
            Check("restore check", partial(self.safe, "restore check", "restore_check", self.limits.check)),
            Check("night", self.night),
        ]

    def disk(self) -> list[Finding]:
        """See for how many days the disk lasts if they are like those of the last week."""
        about = "disk"
        free, whole = self.free(self.home.folder)
        said, pace = f"{free / GIGA:.1f} of {whole / GIGA:.0f} GB are free", self._pace()
        low = [free / whole < share for share in self.limits.share]
        if pace:
            days = free / pace
            lasts = f"{days:.0f} days" if days < 365 * FAR else f"more than {FAR} years"
            said += f": {lasts} at the last week's {pace / GIGA:.2f} GB a day"
            low = [one or days < limit for one, limit in zip(low, self.limits.days, strict=True)]
        fix = "appliance purge, appliance compact, appliance keeping (rules for what is old), or a larger disk"
        if low[1]:
            return [bad(about, said, fix)]
        return [warn(about, said, fix) if low[0] else fine(about, said)]

    def clock(self) -> list[Finding]:
        """See whether somebody has set the clock between two looks of the last day. Rows are stamped with another."""
        about, path, now = "clock's pace", self.home.folder / CLOCKS, self.since_boot()
        boot, apart = text(self.root / "proc/sys/kernel/random/boot_id"), self.now().timestamp() - now
        before: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            before = json.loads(path.read_bytes())
        if not boot or before.get("boot") != boot:
            before = {"boot": boot, "first": now, "apart": apart, "at": now, "jump": None}
        moved, passed = apart - before["apart"], now - before["at"]
        if abs(moved) > self.limits.jump + self.limits.slew * passed:
            before["jump"] = [moved, now]
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            replace_json(path, before | {"apart": apart, "at": now})
        if before["jump"] is not None and now - before["jump"][1] < DAY:
            by, at = before["jump"]
            what = f"the wall clock was set by {by:+.1f} s, as was seen {_lasted(now - at)} ago"
            return [warn(about, what, "Let one program set the clock: timedatectl, chronyc tracking; not two")]
        return [fine(about, f"nobody was seen to set it within the last {_lasted(min(DAY, now - before['first']))}")]

    def queue(self) -> list[Finding]:
        """See whether jobs wait too long, fall silent, or fail."""
        if not self._jobs_there():
            return [fine("queue", "nobody has asked for a job yet")]
        from ops.jobs import State

        with self.home.jobs() as jobs:
            found, now = jobs.list(), self.now()
        line = "appliance jobs list; appliance jobs show ID says why"
        waits = [(now - job.created).total_seconds() for job in found if job.state is State.WAITING]
        said = f"{len(waits)} wait" + (f", the first for {_lasted(max(waits))}" if waits else "")
        found_so = [_graded("queue", said, max(waits, default=0.0), self.limits.waiting, f"{line}; is a worker alive?")]
        for job in found:
            last = job.progress.at if job.progress and job.progress.at else (job.began or job.created).isoformat()
            silent = (now - datetime.fromisoformat(last)).total_seconds()
            if job.state is State.RUNNING and job.queue != "night" and silent > self.limits.silent:
                what = f"{job.id} runs, and has said nothing for {_lasted(silent)}"
                found_so.append(warn(f"job {job.id}", what, f"appliance jobs show {job.id}, appliance jobs cancel"))
        failed = [job for job in found if job.state is State.FAILED and now - (job.ended or now) < timedelta(days=1)]
        if failed:
            what = f"{len(failed)} have failed within a day; the last, {failed[-1].id}: {failed[-1].why}"
            found_so.append(warn("failed jobs", what, f"appliance jobs show {failed[-1].id}, appliance jobs retry"))
        return found_so

    def workers(self) -> list[Finding]:
        """See whether those who take jobs are alive: they count while they are."""
        if not self._known():
            return [fine("workers", "there is no catalog yet")]
        with self.home.join() as catalog:
            before = {one.name: one for one in catalog.workers()}
            if not before:
                fix = "appliance serve; appliance serve --unit prints what systemd needs to start it at boot"
                return [warn("workers", "nobody takes jobs", fix)]
            self.sleep(BEAT)
            after = {one.name: one.beat for one in catalog.workers()}
        dead = [name for name, one in before.items() if after.get(name) == one.beat]
        alive = [f"{name} ({', '.join(one.queues)})" for name, one in before.items() if after.get(name, 0) > one.beat]
        found = [fine("workers", f"alive: {', '.join(alive)}")] if alive else []
        for name in dead:
            what = f"{name} on {before[name].node} has stopped counting: it hangs, or has died"
            fix = "systemctl status appliance on that machine; another worker takes over what it did"
            found.append(warn(f"worker {name}", what, fix) if alive else bad(f"worker {name}", what, fix))
        return found

    def cameras(self) -> list[Finding]:
        """See for each station whether the cameras of its newest episode kept pace, and how old that is."""
        if not self._known():
            return [fine("cameras", "there is no catalog yet")]
        found, since = [], self.now() - timedelta(seconds=self.limits.stations)
        with self.home.join() as catalog:
            for name in dict.fromkeys(one.name for one in catalog.stations()):
                newest = catalog.find(Wanted(station=name, since=since, retired=None, purged=None), last=1)
                if newest:
                    found.append(self._seen(name, newest[-1], catalog.streams(newest[-1].row.id)))
        return found or [fine("cameras", f"nothing was recorded within {_lasted(self.limits.stations)}")]

    def graphics(self) -> list[Finding]:
        """See whether the GPU answers, and is cool enough."""
        about = "GPU"
        program = which("nvidia-smi")
        if program is None:
            return [fine(about, "there is none, or no driver for it")]
        asked = [program, f"--query-gpu={','.join(GRAPHICS)}", "--format=csv,noheader,nounits"]
        fix = "Restart the machine; if that does not help, install the driver again"
        try:
            said = subprocess.run(asked, capture_output=True, text=True, timeout=8, check=False)  # ruff: ignore[subprocess-without-shell-equals-true] - a fixed program
        except (OSError, subprocess.TimeoutExpired) as error:
            return [bad(about, f"nvidia-smi does not answer: {error}", fix)]
        if said.returncode != 0:
            return [bad(about, f"nvidia-smi says: {(said.stdout + said.stderr).strip().splitlines()[-1:]}", fix)]
        return [self._card(number, line.split(", ")) for number, line in enumerate(said.stdout.strip().splitlines())]

    def temperature(self) -> list[Finding]:
        """See whether anything in the machine is too hot."""
        try:
            import psutil
        except ImportError:
            return [fine("temperature", "psutil, which could tell, is not installed")]
        read: Mapping[str, Iterable[object]] = getattr(psutil, "sensors_temperatures", dict)()
        return self.heat({name: list(sensors) for name, sensors in read.items()})

    def heat(self, read: Mapping[str, Iterable[object]]) -> list[Finding]:
        """See whether any of these sensors, as psutil has them, is too hot."""
        said = [
            (float(one.current), one.high or self.limits.hot[0], one.critical or self.limits.hot[1], name)  # type: ignore[attr-defined]  # psutil has no types
            for name, sensors in read.items()
            for one in sensors
        ]
        if not said:
            return [fine("temperature", "this machine does not tell")]
        now, high, critical, name = max(said, key=lambda one: one[0] - one[1])
        what, fix = f"{name} has {now:.0f} °C", "Is a fan blocked, or the room too warm?"
        return [_graded("temperature", what, now, (high, max(high, critical)), fix)]

    def safe(self, about: str, what: str, limits: tuple[float, float]) -> list[Finding]:
        """See whether the last backup, or the last try to restore one, is good and recent."""
        line = "appliance backup DIR" if what == "backup" else "appliance restore DIR --check"
        last = remembered(self.home.folder).get(what)
        if last is None:
            return [warn(about, "there was none yet", line)]
        age = (self.now() - datetime.fromisoformat(last["at"])).total_seconds()
        if not last["ok"]:
            return [bad(about, f"the last one, {_lasted(age)} ago, failed: {last['why']}", line)]
        did = f"{last['there']} things" if what == "backup" else f"{last['items']} of {last['of']} things"
        said = f"{_lasted(age)} ago, {did} in {last['seconds']:.0f} s, {last['to']}"
        if what == "backup" and last.get("same_disk"):
            fix = "Name a folder on another disk: when this one fails, both are gone"
            return [warn(about, f"{said}, on the disk that it is a copy of", fix)]
        return [_graded(about, said, age, limits, line)]

    def night(self) -> list[Finding]:
        """See how each task's last night ended."""
        if not self._known():
            return [fine("night", "there is no catalog yet")]
        with self.home.join() as catalog:
            last = {one.task: one for one in catalog.nights()}
        found = []
        for task, one in last.items():
            about = "night" if len(last) == 1 else f"night of {task}"
            age = (self.now() - (one.ended or one.began)).total_seconds()
            said = f"{one.id}, {_lasted(age)} ago: {one.decision or 'it is under way'}{one.why and f', {one.why}'}"
            fix = f"appliance nightly status; appliance log --night {one.id}"
            failed = one.decision == "failed" or (one.ended is None and age > DAY)
            worth = failed or one.decision == "refused"
            found.append(bad(about, said, fix) if failed else warn(about, said, fix) if worth else fine(about, said))
        return found or [fine("night", "there was none yet")]

    def _pace(self) -> float:
        """Bytes a day that were recorded within the last week."""
        if not self._known():
            return 0.0
        with self.home.join() as catalog:
            week = catalog.find(Wanted(since=self.now() - timedelta(days=7), retired=None))
        return sum(one.row.bytes for one in week) / 7

    def _seen(self, station: str, newest: Listed, streams: Iterable[StreamRow]) -> Finding:
        about, age = f"cameras of {station}", (self.now() - newest.row.started).total_seconds()
        cameras = [one for one in streams if one.camera]
        poor = [
            f"{one.name} stood still for {one.gap or 0:.2f} s and lost {one.lost or 0:.1f} %"
            for one in cameras
            if (one.gap or 0) > self.limits.camera_gap or (one.lost or 0) > self.limits.camera_lost
        ]
        when = f"in the newest episode, {_lasted(age)} ago"
        if poor:
            return warn(about, f"{'; '.join(poor)}, {when}", f"appliance doctor --station {station}: cable, USB, light")
        if not cameras:
            return fine(about, f"there was none {when}")
        worst = max(one.gap or 0 for one in cameras)
        return fine(about, f"{len(cameras)} kept pace {when}; the largest gap was {worst * 1e3:.0f} ms")

    def _card(self, number: int, told: list[str]) -> Finding:
        """One GPU; what it does not tell is ``[N/A]``."""
        about, fix = f"GPU {number}", "Is a fan blocked, or the room too warm? appliance jobs pause ID stops learning"
        name, heat, used, whole, busy = (told + ["?"] * len(GRAPHICS))[: len(GRAPHICS)]
        said = f"{name}, {heat} °C, {used} of {whole} MiB used, {busy} % busy"
        return _graded(about, said, float(heat) if heat.replace(".", "").isdigit() else 0.0, self.limits.hot, fix)

    def _known(self) -> bool:
        """Whether there is a catalog of this program's version; `store.catalog` tells of what is wrong with it."""
        try:
            return version_at(self.home.database) == HEAD
        except (Unavailable, ImportError):
            return False

    def _jobs_there(self) -> bool:
        """Whether anybody asked for jobs; asking makes the file that they are kept in."""
        return self.home.database.startswith("postgres") or (self.home.folder / "jobs.db").exists()


def worst(found: Iterable[Finding]) -> Level:
    """The worst of all findings."""
    return max((one.level for one in found), key=list(Level).index, default=Level.OK)


def _graded(about: str, said: str, value: float, limits: tuple[float, float], fix: str) -> Finding:
    """Say it is fine, or worth a look from the first limit on, or bad from the second."""
    if value > limits[1]:
        return bad(about, said, fix)
    return warn(about, said, fix) if value > limits[0] else fine(about, said)


def _lasted(seconds: float) -> str:
    """A length of time as people say it."""
    for length, unit in ((DAY, "days"), (HOUR, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _room(path: Path) -> tuple[int, int]:
    told = disk_usage(next(folder for folder in (path, *path.parents) if folder.exists()))
    return told.free, told.total
