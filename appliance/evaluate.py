"""Trials of policies: planned, shuffled, blind, counted."""

import functools
import os
import platform
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import learners
from appliance import shared, station, workers
from appliance.begins import fits
from appliance.collect import LIMIT, judged, say
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.rigs import rig, taught
from appliance.serving.door import NoServer, reached
from appliance.session import STOPPED, Flag, Nowhere, Session, sitting
from collectors import Ended, Event, Policy, PolicyAgent
from collectors.agents import Warming
from collectors.ahead import Ahead, InStep, Planner
from drivers import StepClock
from learners import Senses
from learners.body import Body
from learners.senses import ROBOT
from ops import axes, cadence, failures, results, rollout
from ops.judging.judgement import Judgement, invalid
from ops.rig import Recorded, Rig, some
from ops.rollout import Turn
from storage import Batch, Catalog, Episode, Observation, Outcome, PolicyRow, Trial, WorkOrder
from storage.layout import RGB

if TYPE_CHECKING:
    from appliance.serving.remote import Remote

WARMING = 5.0
"""Seconds that a policy may wait for the first row of every device, before its take."""

RETURNING = 60.0
"""Seconds that a policy server which was lost is waited for, before the batch is left as it is."""


UNLIKE = 3
"""After so many trials in a row at a cell that demonstrations do not know, the batch is left as it is."""


class CannotEvaluate(Refusal):
    """These policies cannot be tried. The message says why."""


@dataclass(frozen=True)
class Trying:
    """A planned batch, and where it is tried."""

    home: Home
    batch: str
    station: str
    limit: float = LIMIT
    servers: tuple[str, ...] = ()
    """Where policies of the batch are served, ``ws://host:port``; the others are loaded here."""
    delay: float = 0.0
    """Seconds that each plan comes late, in simulated time."""
    returning: float = RETURNING
    """Seconds that a server which was lost is waited for."""
    until_decided: bool = False
    """Whether a batch of two policies ends as soon as one of them is shown to be better."""


class Drives(Policy, Protocol):
    """A policy that can be tried, wherever it plans."""

    @property
    def body(self) -> Body: ...
    @property
    def senses(self) -> Senses: ...
    @property
    def memory(self) -> float: ...


@dataclass
class Drivers:
    """The policies of a batch, as they come to be needed."""

    root: Path
    served: Mapping[UUID, "Remote"] = field(default_factory=dict)
    returning: float = RETURNING
    ahead: dict[UUID, bool] = field(default_factory=dict)
    """Whether each is to plan while the robot moves, once that is known."""
    unlike: int = 0
    """How many trials were invalid one after the other, because the cell was another than demonstrations know."""
    _loaded: dict[UUID, learners.ChunkPolicy] = field(default_factory=dict)
    _rigs: dict[UUID, Rig | None] = field(default_factory=dict)

    def get(self, row: PolicyRow) -> Drives:
        """A policy that is about to drive: one that is served, once its server is there.

        Raises:
            CannotEvaluate: it cannot be read.
            NoServer: its server is gone, and does not come back.
        """
        if row.id in self.served:
            self.served[row.id].reach(self.returning)
        return self.known(row)

    def known(self, row: PolicyRow) -> Drives:
        """A policy, loaded once; a served one as its server told of it, which may be gone.

        Raises:
            CannotEvaluate: it cannot be read.
        """
        if row.id in self.served:
            return self.served[row.id]
        if row.id not in self._loaded:
            self._loaded[row.id] = load(self.root, row)
        return self._loaded[row.id]

    def rig(self, catalog: Catalog, row: PolicyRow) -> Rig | None:
        """What the policy's demonstrations were recorded at, read once."""
        if row.id not in self._rigs:
            self._rigs[row.id] = rig(catalog, self.root, row)
        return self._rigs[row.id]


def plan(
    home: Home,
    task: str,
    policies: Sequence[str],
    trials: int,
    seed: int,
    station_name: str,
    servers: Sequence[str] = (),
    delay: float = 0.0,
    vary: Sequence[str] = (),
    order: WorkOrder | None = None,
    name: str = "",
) -> tuple[Batch, list[PolicyRow]]:
    """Write down every trial before the first one runs: from each start as usual, and again varied along each axis.

    With ``order``, only from starts that it asked for. ``name`` is the batch's id; empty: a new one.

    Raises:
        CannotEvaluate: a policy was trained for another task, another robot or other cameras, or cannot be read, or the
            numbers make no sense.
        CannotOrder: a person sets the scene, and there is an order.
        NoServer: a server is not there, or serves none of the policies.
        StationError: there is no such station, its file is wrong, or its scene cannot be varied so.
        Unknown: there is no such task or policy.
    """
    cell = _cell(station_name, delay)
    vary = cell.vary(vary)
    with home.join() as catalog:
        instruction = catalog.task(task).instruction
        rows = [catalog.policy(name) for name in policies]
        if strangers := [f"{row.name} ({row.task})" for row in rows if row.task != task]:
            raise CannotEvaluate(f"not trained for task {task!r}: {', '.join(strangers)}")
        with reached(home.folder, servers, rows) as served:
            drivers = Drivers(home.folder, served)
            shared.present(home, policies=[row for row in rows if row.id not in served])
            for row in rows:
                _fit(row.name, drivers.get(row), cell)
        try:
            number, meant = None if order is None else order.id, fits(cell, instruction, order)
            return rollout.plan(catalog, task, rows, trials, seed, cell.name, vary, number, meant, name), rows
        except ValueError as error:
            raise CannotEvaluate(str(error)) from error


def resume(
    home: Home, task: str, key: str, station_name: str, delay: float = 0.0
) -> tuple[Batch, list[PolicyRow], int]:
    """Go on with a batch that was left open: trials that a program of this machine held when it died are given back.

    Returns:
        The batch, its policies, and how many of its trials nobody has taken.

    Raises:
        CannotEvaluate: it is closed, or of another task or station.
        StationError: there is no such station, or its file is wrong.
        Unknown: there is no such batch.
    """
    here = task, _cell(station_name, delay).name
    with home.join() as catalog:
        batch = catalog.batch(key)
        if batch.closed is not None:
            raise CannotEvaluate(f"batch {batch.id} is closed: none of its trials is left")
        if (batch.task, batch.station) != here:
            raise CannotEvaluate(
                f"batch {batch.id} is of task {batch.task} at {batch.station}, not {' at '.join(here)}"
            )
        trials = catalog.trials(batch.id)
        for trial in trials:
            if trial.episode is None and trial.claimed_by is not None and _dead(trial.claimed_by):
                catalog.release_trial(trial)
        free = [one for one in catalog.trials(batch.id) if one.episode is None and one.claimed_by is None]
        return batch, _policies(catalog, trials), len(free)


def evaluate(trying: Trying, processes: int, tell: Callable[[Turn], None]) -> bool:
    """Run the batch's trials.

    Returns:
        Whether all were run; False when a person stopped them. What is left of the batch stays open.

    Raises:
        CannotEvaluate: a policy's server was lost and did not come back. What is left of the batch stays open.
    """
    return workers.share(functools.partial(run, trying), processes, tell)


def run(trying: Trying, _worker: int, _of: int, stop: Flag, tell: Callable[[Turn], None]) -> None:
    """Run trials that nobody has taken until there are none, in this process."""
    with ready(trying, _program(), stop) as here:
        go(here, functools.partial(attempt_trial, here.session, here.drivers, here.limit, trying.delay), tell)


@dataclass(frozen=True)
class Here:
    """A station that is connected, to try a batch at."""

    trying: Trying
    batch: Batch
    cell: station.Station
    session: Session
    drivers: Drivers

    @property
    def limit(self) -> float:
        """Seconds until a trial ends anyway."""
        return max(self.trying.limit, self.cell.lasts)


@contextmanager
def ready(trying: Trying, operator: str, stop: Flag) -> Generator[Here]:
    """Connect a station, and the servers of policies that are served.

    Raises:
        DeviceError: a device does not answer.
        NoServer: a server is not there, or serves none of the policies.
        StationError: there is no such station, or its file is wrong.
        Unknown: there is no such batch.
    """
    cell = station.load(trying.station)
    with ExitStack() as stack:
        catalog = stack.enter_context(trying.home.join())
        batch, folder = catalog.batch(trying.batch), trying.home.folder
        tried = _policies(catalog, catalog.trials(trying.batch))
        served = stack.enter_context(reached(folder, trying.servers, tried))
        known = [one for row in tried if row.snapshot for one in some(taught(catalog, row.snapshot))]
        shared.present(trying.home, known, [row for row in tried if row.id not in served])
        session = stack.enter_context(sitting(cell, catalog, folder, operator, stop))
        yield Here(trying, batch, cell, session, Drivers(folder, served, trying.returning))


def go(here: Here, attempt: rollout.Attempt, tell: Callable[[Turn], None]) -> None:
    """Have trials attempted that nobody has taken until there are none, or a person stops them.

    Raises:
        CannotEvaluate: a policy's server is gone, or the cell is another than demonstrations know.
    """
    batch, session = here.batch, here.session
    again = f"appliance evaluate --task {batch.task} --resume {batch.id}"
    decided = functools.partial(results.enough, session.catalog, batch.id)
    enough = decided if here.trying.until_decided else str
    try:
        rollout.run(session.catalog, batch, attempt, session.operator, session.root, tell, enough, _program())
    except Stopped:
        return
    except Unlike as unlike:
        raise CannotEvaluate(
            f"{unlike}. Put it right, or calibrate and teach anew; batch {batch.id} stays open: {again}"
        ) from unlike
    except Deserted as gone:
        raise CannotEvaluate(f"{gone}; batch {batch.id} stays open. Start the server again and type: {again}") from gone


class Stopped(BaseException):
    """A person stopped the batch. No ``Exception``, so that the trial is given back and not counted as invalid."""


class Unlike(BaseException):
    """The cell is not the one that was learned at. No ``Exception``, so that the trial is given back."""


class Deserted(BaseException):
    """A policy's server is gone. No ``Exception``, so that the trial is given back: nothing of it was tried."""


def attempt_trial(
    session: Session, drivers: Drivers, limit: float, delay: float, trial: Trial
) -> tuple[UUID, Judgement]:
    """Run one trial from its own start, and have it judged by the rules."""
    task = session.catalog.task(trial.task)
    over = functools.partial(failures.finished, instruction=task.instruction)
    episode = drive(session, drivers, limit, delay, trial, over)
    judgement = judged(session, task, episode)
    if session.catalog.episode(episode).ended_by == STOPPED:
        say(session, judgement)
        raise Stopped
    session.later()
    return episode, checked(session, drivers, trial, episode, judgement)


def drive(
    session: Session,
    drivers: Drivers,
    limit: float,
    delay: float,
    trial: Trial,
    over: Callable[[Observation], bool],
) -> UUID:
    """Let a trial's policy drive from the trial's own start, until it is ``over`` or somebody ends it.

    Raises:
        Stopped: no trial shall begin.
        Deserted: the policy's server is gone.
    """
    if session.stop.is_set():
        raise Stopped
    try:
        policy = drivers.get(session.catalog.policy(trial.policy))
    except NoServer as error:
        raise Deserted(str(error)) from error
    task = session.catalog.task(trial.task)
    session.loop = session.loop.remembering(policy.memory)
    robot = session.loop.robot
    words = axes.told(task.instruction, trial.condition)
    if isinstance(session.loop.clock, StepClock) or trial.policy in drivers.ahead:
        _warm(session, policy, words, 1)
    elif (took := _warm(session, policy, words, 2)) is not None:
        # A network may be slow at any moment, however quick it was this time.
        drivers.ahead[trial.policy] = trial.policy in drivers.served or took > 1 / session.loop.hz
    if session.events.take(Event.STOP) is not None:
        session.stop.set()
    if session.stop.is_set():
        raise Stopped
    session.events.clear()  # nothing had begun that a press could have ended
    with _planner(policy, drivers.ahead.get(trial.policy, False), delay) as planner:
        agent = PolicyAgent(policy, robot.kinematics, robot.action, session.loop.hz, planner)
        told = None if words == task.instruction else words
        return session.run(
            agent, "policy", task, limit, over, policy=trial.policy, condition=trial.condition, told=told
        )


def checked(session: Session, drivers: Drivers, trial: Trial, episode: UUID, judgement: Judgement) -> Judgement:
    """The judgement with how the plans kept up, if the cell is the one that the policy learned at; else it is invalid.

    Raises:
        Unlike: that was so of several trials one after the other: no further one would tell anything.
    """
    row = session.catalog.policy(trial.policy)
    record = Episode(session.root / session.catalog.episode(episode).path)
    valid = _valid(judgement, drivers, drivers.rig(session.catalog, row), record, drivers.known(row).senses.cameras)
    return replace(valid, evidence=valid.evidence | {"cadence": cadence.of(record)})


def _valid(
    judgement: Judgement, drivers: Drivers, learned: Rig | None, record: Episode, cameras: Sequence[str]
) -> Judgement:
    """The judgement, if the cell is the one that the policy learned at; else the trial is invalid, and says why.

    A trial that is invalid anyway, for a device that was lost, says nothing of the cell.

    Raises:
        Unlike: that was so of several trials one after the other: no further one would tell anything.
    """
    if learned is None or judgement.outcome is Outcome.INVALID:
        return judgement
    found = learned.differs(Recorded.of(record), cameras, axes.varied(record.attributes["condition"]))
    drivers.unlike = drivers.unlike + 1 if found else 0
    if not found:
        return judgement
    why = f"the cell is not the one that was learned at: {'; '.join(found)}"
    if drivers.unlike == UNLIKE:
        raise Unlike(f"{UNLIKE} trials in a row were invalid; {why}")
    return invalid(why)


def _warm(session: Session, policy: Drives, instruction: str, plans: int) -> float | None:
    """Have the policy plan before its take, and say how many seconds the last plan took; the first is far slower.

    A cell where that fails ends the take, which tells why; here it is None.
    """
    warming = Warming(policy, plans)
    ended = session.loop.run(
        *(warming, instruction, Nowhere(), WARMING),
        lambda seen: session.stop.is_set() or warming.done(seen),
    )
    return warming.took if ended is Ended.DONE else None


@contextmanager
def _planner(policy: Drives, ahead: bool, delay: float) -> Generator[Planner]:
    """Who makes the policy's plans: the loop itself, or, where that would keep it waiting, a thread."""
    if not ahead:
        yield InStep(policy, delay)
        return
    with Ahead(policy) as planner:
        yield planner


def _policies(catalog: Catalog, trials: Iterable[Trial]) -> list[PolicyRow]:
    return [catalog.policy(policy) for policy in dict.fromkeys(trial.policy for trial in trials)]


def _program() -> str:
    """This program, as others know it: whoever stands beside it may leave, and come back."""
    return f"{platform.node()}:{os.getpid()}"


def _dead(by: str) -> bool:
    """Whether that is a program of this machine which has ended."""
    node, _, number = by.rpartition(":")
    if node != platform.node() or not number.isdecimal():
        return False
    with suppress(PermissionError):
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return True
    return False


def _cell(name: str, delay: float) -> station.Station:
    """The station of that name.

    Raises:
        CannotEvaluate: plans are to come late there, and its time is not simulated.
        StationError: there is none, or its file is wrong.
    """
    cell = station.load(name)
    if delay and not isinstance(cell.clock, StepClock):
        raise CannotEvaluate(f"plans come late by themselves at {cell.name}; --delay is for simulated time")
    return cell


def _fit(name: str, policy: Drives, cell: station.Station) -> None:
    """Make sure that a policy can drive this robot, and finds the cameras that it looks through.

    Raises:
        CannotEvaluate: it cannot.
    """
    if cell.robot.name != ROBOT:
        raise CannotEvaluate(
            f"a policy looks for a robot called {ROBOT!r}, and {cell.name}'s is {cell.robot.name!r}: "
            f'write [device.{ROBOT}] and robot = "{ROBOT}" in its file'
        )
    try:
        body = Body.of(cell.robot.dtype)
    except ValueError as error:
        raise CannotEvaluate(f"{cell.name}: {error}") from error
    if body != policy.body:
        raise CannotEvaluate(f"policy {name} moves {policy.body}, and {cell.name} has {body}")
    there = [device.name for device in cell.watching if RGB in (device.dtype.names or ())]
    if missing := sorted(set(policy.senses.cameras) - set(there)):
        raise CannotEvaluate(f"policy {name} looks through {', '.join(missing)}, and {cell.name} has cameras {there}")


def load(root: Path, row: PolicyRow) -> learners.ChunkPolicy:
    """Read a policy back from the data folder.

    Raises:
        CannotEvaluate: it is not there, or this version cannot read it.
    """
    try:
        return learners.load(root / row.path)
    except learners.BadCheckpoint as error:
        raise CannotEvaluate(f"policy {row.name}: {error}") from error
