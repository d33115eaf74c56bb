"""What follows once something bad was learned from: it is set aside, and champions are trained again without it."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from appliance.home import Home
from storage import Catalog, Edit, EditKind, Listed, PolicyRow, Recall, Wanted
from storage.orders import LED

if TYPE_CHECKING:
    from ops.jobs import Job


@dataclass(frozen=True)
class Clean:
    """A champion that learned from something bad, and how its task gets one that did not."""

    champion: PolicyRow
    back: PolicyRow | None
    """The newest clean policy of the task that was champion before; else the newest clean one."""
    reigned: bool
    """Whether that one was champion before."""
    start: PolicyRow | None
    """The newest of the champion's line that is clean: its training begins there, or at nothing."""
    shown: int
    """Clean demonstrations that there are."""
    job: str
    """Its training's id: the same for the same champion and the same that is bad, so that it is asked for once."""
    settings: dict[str, Any]
    """Of the training."""
    refused: str
    """Why it cannot be trained; empty when it can."""

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "champion": self.champion.name,
            "task": self.champion.task,
            "back": None if self.back is None else self.back.name,
            "reigned": self.reigned,
            "demonstrations": self.shown,
            "job": None if self.refused else self.job,
            "settings": self.settings,
            "refused": self.refused,
        }


@dataclass(frozen=True)
class Plan:
    """What is to be done about something bad."""

    aside: tuple[Listed, ...]
    """Episodes that go into quarantine; those that are there already, or are gone, do not."""
    champions: tuple[Clean, ...]

    @property
    def wanted(self) -> list[Clean]:
        """Those that can be trained."""
        return [one for one in self.champions if not one.refused]


def plan(catalog: Catalog, touched: Recall) -> Plan:
    """Say what would be done about what a recall found, and change nothing.

    Clean is who learned neither from that nor from anything else in quarantine, and descends from nobody who did.
    """
    waiting = catalog.find(Wanted(quarantined=True, retired=None, purged=None))
    bad = {one.row.id for one in (*touched.episodes, *waiting)}
    dirty = {row.id for row in catalog.learned_from(bad).policies}
    hit = {row.id for row in touched.policies}
    reigning = [row for task in catalog.tasks() if (row := catalog.champion(task.name)) is not None]
    return Plan(
        tuple(one for one in touched.episodes if not (one.standing.quarantined or one.standing.purged)),
        tuple(_clean(catalog, row, bad, dirty) for row in reigning if row.id in hit),
    )


def asked_for(home: Home, planned: Plan) -> dict[str, "Job"]:
    """Trainings that an earlier run has asked for, by their ids."""
    from ops.jobs import NoJob

    found = {}
    with home.jobs() as jobs:
        for one in planned.wanted:
            try:
                found[one.job] = jobs.get(one.job)
            except NoJob:
                continue
    return found


def under_way(home: Home, touched: Recall, but: Collection[str]) -> list["Job"]:
    """Trainings that have begun, ``but`` for these, and may have begun with what is bad: what they make, too, is bad.

    Those that still wait see what stands when they begin.
    """
    from ops.jobs import State

    tasks = {one.standing.task for one in touched.episodes}
    with home.jobs() as jobs:
        begun = jobs.list(None, State.RUNNING, State.PAUSED)
    return [job for job in begun if job.kind == "train" and job.settings.get("task") in tasks and job.id not in but]


def do(home: Home, catalog: Catalog, planned: Plan, by: str, why: str) -> list["Job"]:
    """Set aside what is bad, all of it or nothing, then ask for the trainings: those there already stay as they are.

    Raises:
        Refused: an episode was set aside or purged meanwhile. Nothing is done.
    """
    catalog.edit(*(Edit(episode=one.row.id, kind=EditKind.QUARANTINE, by=by, why=why) for one in planned.aside))
    if not planned.wanted:
        return []
    with home.jobs() as jobs:
        return [jobs.enqueue("train", one.settings | {"why": why}, by, one.job) for one in planned.wanted]


def _clean(catalog: Catalog, champion: PolicyRow, bad: Collection[UUID], dirty: Collection[UUID]) -> Clean:
    from appliance.settings import WrongSetting, learner
    from appliance.train import CannotTrain, demonstrations

    line = catalog.lineage(champion.id).line
    learned = {key for one in line if one.held is not None for key in catalog.learned(one.held.id)}
    start = next((one.policy for one in line if one.policy.id not in dirty), None)
    if start is not None and start.method != champion.method:
        start = None
    back, reigned = _back(catalog, champion.task, dirty)
    hands = _with_hands(catalog, champion)
    settings: dict[str, Any] = {
        "task": champion.task,
        "method": champion.method,
        "preset": champion.preset,
        "settings": {},
        "start": None if start is None else start.name,
        "hands": hands,
    }
    good: list[Listed] = []
    try:
        good = [one for one in demonstrations(catalog, champion.task, hands) if one.row.id not in bad]
        settings["settings"] = typed(learner(champion.method, champion.preset, {}), champion.settings)
        learner(champion.method, champion.preset, settings["settings"])
        refused = "" if good else f"no clean demonstration of {champion.task} is left; collect some first"
    except (CannotTrain, WrongSetting) as error:
        refused = str(error)
    same = json.dumps(sorted(str(key) for key in learned.intersection(bad)))
    job = f"retrain-{champion.name}-{hashlib.blake2b(same.encode(), digest_size=4).hexdigest()}"
    return Clean(champion, back, reigned, start, len(good), job, settings, refused)


def typed(preset: Any, settings: Mapping[str, Any]) -> dict[str, str]:
    """What a person would have to type, beside the preset, to get these settings of a policy."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        part = getattr(preset, name, None)
        if isinstance(value, dict) and not isinstance(part, dict):
            found |= {f"{name}.{inner}": text for inner, text in typed(part, value).items()}
        else:
            found[name] = json.dumps(value)
    return found


def _back(catalog: Catalog, task: str, dirty: Collection[UUID]) -> tuple[PolicyRow | None, bool]:
    """The policy to go back to, and whether it was champion before."""
    for row in reversed(catalog.promotions(task)):
        if row.policy not in dirty:
            return catalog.policy(row.policy), True
    return next((row for row in reversed(catalog.policies(task)) if row.id not in dirty), None), False


def _with_hands(catalog: Catalog, policy: PolicyRow) -> bool:
    """Whether it learned from what was led by hand, though a success repeats that."""
    if policy.snapshot is None:
        return False
    held = catalog.among(catalog.learned(policy.snapshot))
    return any(one.row.follows in held and held[one.row.follows].row.agent == LED for one in held.values())
