"""Trials of policies: planned, shuffled, blind, counted."""

import functools
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import learners
from appliance import station, workers
from appliance.collect import LIMIT, judged, say
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.session import STOPPED, Flag, Nowhere, Session, sitting
from collectors import PolicyAgent
from collectors.agents import Warming
from learners.body import Body
from learners.senses import ROBOT
from ops import failures, rollout
from ops.judging.judgement import Judgement
from ops.rollout import Turn
from storage import Batch, PolicyRow, Trial
from storage.layout import RGB

WARMING = 5.0
"""Seconds that a policy may wait for the first row of every device, before its take."""


class CannotEvaluate(Refusal):
    """These policies cannot be tried. The message says why."""


@dataclass(frozen=True)
class Trying:
    """A planned batch, and where it is tried."""

    home: Home
    batch: str
    station: str
    limit: float = LIMIT


def plan(
    home: Home, task: str, policies: Sequence[str], trials: int, seed: int, station_name: str
) -> tuple[Batch, list[PolicyRow]]:
    """Write down every trial before the first one runs.

    Raises:
        CannotEvaluate: a policy was trained for another task, another robot or other cameras, or cannot be read, or the
            numbers make no sense.
        StationError: there is no such station, or its file is wrong.
        Unknown: there is no such task or policy.
    """
    cell = station.load(station_name)
    with home.join() as catalog:
        catalog.task(task)
        rows = [catalog.policy(name) for name in policies]
        if strangers := [f"{row.name} ({row.task})" for row in rows if row.task != task]:
            raise CannotEvaluate(f"not trained for task {task!r}: {', '.join(strangers)}")
        for row in rows:
            _fit(row.name, load(home.folder, row), cell)
        try:
            return rollout.plan(catalog, task, rows, trials, seed, cell.name), rows
        except ValueError as error:
            raise CannotEvaluate(str(error)) from error


def evaluate(trying: Trying, processes: int, tell: Callable[[Turn], None]) -> bool:
    """Run the batch's trials.

    Returns:
        Whether all were run; False when a person stopped them. What is left of the batch stays open.
    """
    return workers.share(functools.partial(run, trying), processes, tell)


def run(trying: Trying, _worker: int, _of: int, stop: Flag, tell: Callable[[Turn], None]) -> None:
    """Run trials that nobody has taken until there are none, in this process."""
    cell = station.load(trying.station)
    with (
        trying.home.join() as catalog,
        sitting(cell, catalog, trying.home.folder, f"{platform.node()}:{os.getpid()}", stop) as session,
    ):
        loaded: dict[UUID, learners.ChunkPolicy] = {}
        attempt = functools.partial(attempt_trial, session, loaded, trying.limit)
        try:
            rollout.run(catalog, catalog.batch(trying.batch), attempt, session.operator, session.root, tell)
        except _Stopped:
            return


class _Stopped(BaseException):
    """A person stopped the batch. No ``Exception``, so that the trial is given back and not counted as invalid."""


def attempt_trial(
    session: Session, loaded: dict[UUID, learners.ChunkPolicy], limit: float, trial: Trial
) -> tuple[UUID, Judgement]:
    """Run one trial from its own start; the policy is loaded once."""
    if session.stop.is_set():
        raise _Stopped
    if trial.policy not in loaded:
        loaded[trial.policy] = load(session.root, session.catalog.policy(trial.policy))
    policy = loaded[trial.policy]
    task = session.catalog.task(trial.task)
    session.loop = session.loop.remembering(policy.memory)
    robot = session.loop.robot
    _warm(session, policy, task.instruction)
    agent = PolicyAgent(policy, robot.kinematics, robot.action, session.loop.hz)
    over = functools.partial(failures.finished, instruction=task.instruction)
    episode = session.run(agent, "policy", task, limit, over, policy=trial.policy, condition=trial.condition)
    judgement = judged(session, task, episode)
    if session.catalog.episode(episode).ended_by == STOPPED:
        say(session, judgement)
        raise _Stopped
    session.later()
    return episode, judgement


def _warm(session: Session, policy: learners.ChunkPolicy, instruction: str) -> None:
    """Have the policy plan once before its take. A cell where that fails ends the take, which tells why."""
    warming = Warming(policy)
    session.loop.run(
        *(warming, instruction, Nowhere(), WARMING),
        lambda seen: session.stop.is_set() or warming.done(seen),
    )


def _fit(name: str, policy: learners.ChunkPolicy, cell: station.Station) -> None:
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
    if missing := sorted(set(policy.how.senses.cameras) - set(there)):
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
