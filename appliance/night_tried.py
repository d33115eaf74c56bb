"""A night's trials, what they decide, and what becomes known of it. Each step may be killed and asked again."""

import hashlib
import platform
from dataclasses import asdict
from typing import Any

from appliance import evaluate as trying
from appliance import station
from appliance.begins import CannotOrder
from appliance.doing import Doing, Paused
from appliance.home import Home
from appliance.kinds import QUEUES
from appliance.night_asked import CannotNight, candidate, said
from appliance.night_steps import once
from appliance.orders import Suggested, place, suggest
from ops import morning
from ops.gates import Gate
from ops.rates import tell_rate
from ops.results import PolicyReport, compare, of_batch
from ops.rollout import Turn
from storage import Batch, Catalog, Night, PolicyRow, Promotion, Refused, Unknown

TWIN = QUEUES["night.trials"]
"""The queue whose workers share the trials."""

PROMOTED, KEPT = "promoted", "kept"


@once("plan")
def plan(home: Home, catalog: Catalog, row: Night, _doing: Doing) -> dict[str, Any]:
    """Write the trials down: candidate and champion from the same starts. At a real cell they are only proposed."""
    asked = said(row.settings)
    policies = [one.name for one in _policies(catalog, row)]
    if not station.load(asked.station).simulated:
        named = " ".join(f"--policy {name}" for name in policies)
        why = f"nobody stands at {asked.station} at night; try it by day: "
        why += f"appliance evaluate --task {row.task} --station {asked.station} {named} --until-decided"
        return {"decision": KEPT} | asdict(Gate(False, why))
    name = _digits(row.id, 4)
    seed = asked.seed if asked.seed is not None else int(_digits(row.id + ":starts", 3), 16)
    if _planned(catalog, name) is None:
        trying.plan(home, row.task, policies, asked.trials, seed, asked.station, name=name)
    catalog.night_tries(row.id, name)
    why = f"batch {name}: {' and '.join(policies)} from up to {asked.trials} starts"
    ways = max(1, sum(TWIN in one.queues for one in catalog.workers()))
    return {"batch": name, "seed": seed, "ways": ways, "workers": asked.workers} | asdict(Gate(True, why))


def trials(home: Home, settings: dict[str, Any], doing: Doing) -> dict[str, Any]:
    """Run trials of the night until none is left, in ``workers`` processes; several machines may do so at once.

    Raises:
        CannotEvaluate: a policy cannot be tried, or the cell is another than demonstrations know.
        Paused: somebody asked for that.
    """
    with home.join() as catalog:
        row = catalog.night(settings["night"])
        asked, batch = said(row.settings), catalog.batch(str(row.batch))
        give_back(catalog, batch.id)
        try:
            trying.resume(home, row.task, batch.id, asked.station)
        except trying.CannotEvaluate:
            if catalog.batch(batch.id).closed is not None:
                return {"ran": 0}
            raise
    ran = 0

    def tell(turn: Turn) -> None:
        nonlocal ran
        ran += 1
        doing.tell("trials", turn.turn, turn.of)

    here = trying.Trying(home, batch.id, asked.station, asked.limit, until_decided=asked.early)
    if not trying.evaluate(here, int(settings.get("workers", 1)), tell):
        raise Paused(f"trials of night {row.id} were stopped; batch {batch.id} stays open")
    return {"ran": ran}


@once("decide")
def decide(_home: Home, catalog: Catalog, row: Night, _doing: Doing) -> dict[str, Any]:
    """Say what the trials have shown.

    Raises:
        CannotNight: some of them have not run.
    """
    batch = catalog.batch(str(row.batch))
    if batch.closed is None:
        left = sum(one.episode is None for one in catalog.trials(batch.id))
        raise CannotNight(f"{left} trials of batch {batch.id} have not run")
    reports = {one.id: one for one in of_batch(catalog, batch.id)}
    ours = reports[candidate(row.id)]
    theirs = None if row.champion is None else reports[row.champion]
    better, why = _alone(ours) if theirs is None else _compared(ours, theirs)
    tried = {one.name: _tally(one) for one in reports.values()}
    return {"better": better, "decision": PROMOTED if better else KEPT, "why": why, "tried": tried}


@once("promote")
def promote(_home: Home, catalog: Catalog, row: Night, _doing: Doing) -> dict[str, Any]:
    """Make the candidate the champion, once: unless somebody has chosen another one since the night began."""
    decided = row.facts["decide"]
    evidence = {"night": row.id, "batch": row.batch, "tried": decided["tried"]}
    said_so = Promotion(
        task=row.task,
        policy=candidate(row.id),
        kind="promoted",
        by=f"night {row.id}",
        why=decided["why"],
        evidence=evidence,
    )
    try:
        made = catalog.promote_once(said_so, row.champion)
    except Refused as refused:
        return {"decision": KEPT, "why": f"{decided['why']}, but {refused}"}
    return {"decision": PROMOTED, "why": decided["why"], "promotion": made.id}


@once("orders")
def orders(home: Home, catalog: Catalog, row: Night, _doing: Doing) -> dict[str, Any]:
    """Ask for the demonstrations that would cure most of what the champion of the morning still fails at."""
    reigning = catalog.champion(row.task) or catalog.policy(candidate(row.id))
    if row.batch is None:
        return {"placed": [], "why": "nothing was tried"}
    try:
        found = suggest(home, row.task, reigning.name, said(row.settings).wanted)
    except CannotOrder as error:
        return {"placed": [], "why": str(error)}
    there = [(one.failure, one.part) for one in _ordered(catalog, row)]
    lacking = [one for one in found.proposals if (one.code, one.where.facts) not in there]
    place(catalog, row.task, Suggested(found.policy, found.batch, tuple(lacking)))
    placed = [{"id": one.id, "why": one.why, "wanted": one.wanted} for one in _ordered(catalog, row)]
    number = f"{len(placed)} order{'' if len(placed) == 1 else 's'}"
    why = f"{number}, for what {reigning.name} failed at" if placed else "too few failures to order anything new"
    return {"placed": placed, "why": why}


def end(home: Home, settings: dict[str, Any], _doing: Doing) -> dict[str, Any]:
    """Write down how the night ended."""
    with home.join() as catalog:
        name = settings["night"]
        told = {key: settings[key] for key in ("decision", "gate", "why", "trouble")}
        kept = catalog.night_found(name, "end", told)
        row = catalog.end_night(name, kept["decision"], f"{kept['gate']}: {kept['why']}")
        return {"decision": row.decision, "why": row.why}


def page(home: Home, settings: dict[str, Any], _doing: Doing) -> dict[str, Any]:
    """Write the morning page, again whenever it is asked for."""
    with home.join() as catalog:
        found = morning.of(catalog, settings["night"])
        written = morning.write_page(found, morning.folder(home.folder, settings["night"]), home.folder)
    return {"page": written.relative_to(home.folder).as_posix()}


def _policies(catalog: Catalog, row: Night) -> list[PolicyRow]:
    """The candidate, and the champion where there is one."""
    return [catalog.policy(one) for one in (candidate(row.id), row.champion) if one is not None]


def give_back(catalog: Catalog, batch: str) -> None:
    """Give back trials that were taken at a machine where no worker lives: nobody else runs a night's."""
    nodes = {platform.node(), *(one.node for one in catalog.workers())}
    for trial in catalog.trials(batch):
        if trial.episode is None and trial.claimed_by and trial.claimed_by.rpartition(":")[0] not in nodes:
            catalog.release_trial(trial)


def _planned(catalog: Catalog, name: str) -> Batch | None:
    try:
        return catalog.batch(name)
    except Unknown:
        return None


def _alone(ours: PolicyReport) -> tuple[bool, str]:
    """Whether a first policy is better than none: it succeeds at all."""
    return ours.successes > 0, f"{ours.name} {ours.says}, and there was no champion"


def _compared(ours: PolicyReport, theirs: PolicyReport) -> tuple[bool, str]:
    """Whether the candidate is shown to be better than the champion, however often one looked."""
    found = compare(ours, theirs)
    return found.decided == "better", f"{ours.name} {ours.says}, {theirs.name} {theirs.says}: {found.says}"


def _tally(one: PolicyReport) -> dict[str, Any]:
    return {"trials": one.trials, "successes": one.successes, "says": tell_rate(one.successes, one.trials)}


def _ordered(catalog: Catalog, row: Night) -> list[Any]:
    """Orders that follow from this night's trials, open or closed by now."""
    return [one for one in catalog.orders(row.task, None) if one.evidence.get("batch") == row.batch]


def _digits(of: str, size: int) -> str:
    return hashlib.blake2b(of.encode(), digest_size=size).hexdigest()
