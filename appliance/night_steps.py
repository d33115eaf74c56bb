"""A night until its candidate is trained and examined. Each step may be killed at any moment and asked again.

What a step finds is written into the night's row when it is done, and its first word stands.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from functools import wraps
from typing import Any
from uuid import UUID

import learners
from appliance import shared, station
from appliance.doing import Doing
from appliance.film import film
from appliance.home import Home
from appliance.night_asked import Asked, CannotNight, candidate, name_of, said
from appliance.settings import changed, learner
from appliance.train import CannotTrain, demonstrations, seeing, train
from learners import examine
from ops import gates as gate
from ops.gates import Gate
from ops.tells import tells
from storage import Catalog, Episode, EpisodeRow, Listed, Night, Outcome, PolicyRow, Wanted, check, digest
from storage.reading import reading

type Facts = dict[str, Any]

type Step = Callable[[Home, Catalog, Night, Doing], Facts]


def once(name: str) -> Callable[[Step], Callable[[Home, Facts, Doing], Facts]]:
    """Make a step of a function: what it finds is kept under ``name``, and it is not done again once that is there.

    Raises:
        CannotNight: somebody has ended the night.
    """

    def made(does: Step) -> Callable[[Home, Facts, Doing], Facts]:
        @wraps(does)
        def step(home: Home, settings: Facts, doing: Doing) -> Facts:
            with home.join() as catalog:
                row = catalog.night(settings["night"])
                if name in row.facts:
                    return dict(row.facts[name])
                if row.ended is not None:
                    raise CannotNight(f"night {row.id} has ended: {row.why}")
                return catalog.night_found(row.id, name, does(home, catalog, row, doing))

        return step

    return made


def begin(home: Home, settings: Facts, _doing: Doing) -> Facts:
    """Write the night down, and look whether there is anything to do, and room for it.

    Raises:
        CannotNight: it is asked for wrongly.
        Refused: another night of this task is not over.
        StationError: there is no such station.
        Unknown: there is no such task.
    """
    asked = said(settings)
    station.load(asked.station)
    with home.join() as catalog:
        champion = catalog.champion(asked.task)
        row = catalog.begin_night(
            Night(
                id=name_of(catalog, asked),
                task=asked.task,
                station=asked.station,
                by=asked.by,
                settings=asdict(asked),
                champion=None if champion is None else champion.id,
            )
        )
        if "begin" in row.facts:
            return dict(row.facts["begin"])
        # The row's champion counts: somebody may have chosen another since it was written.
        champion = None if row.champion is None else catalog.policy(row.champion)
        known = learned(catalog, champion)
        new = [one for one in _teaching(catalog, asked) if one.row.id not in known]
        free = shutil.disk_usage(home.folder).free
        name = None if champion is None else champion.name
        found = gate.fresh(name, len(known), len(new), asked.least, asked.first)
        if found.passed and not (room := gate.room(free, round(asked.space * 1e9))).passed:
            found = room
        facts = {"night": row.id, "champion": name, "known": len(known), "new": _ids(new), "free": free}
        return catalog.night_found(row.id, "begin", facts | asdict(found))


@once("verify")
def verify(home: Home, catalog: Catalog, row: Night, doing: Doing) -> Facts:
    """Read every byte that is to be learned from, and compare it with what was sealed."""
    asked = said(row.settings)
    there = [*every(catalog, asked.task), *_watched(catalog, row, asked)]
    wrong: dict[str, str] = {}
    shared.present(home, there)
    with reading(home.folder, f"night {row.id} verifies", {one.row.id for one in there}):
        for number, one in enumerate(there, start=1):
            if why := _wrong(home, one):
                wrong[str(one.row.id)] = why
            doing.tell("verifying demonstrations", number, len(there))
    found = gate.sound(len(there), wrong, asked.doubted)
    whole = [key for key in _ids(there) if key not in wrong]
    return {"looked": len(there), "wrong": wrong, "sound": whole} | asdict(found)


@once("grade")
def grade(home: Home, catalog: Catalog, row: Night, doing: Doing) -> Facts:
    """Look which new demonstrations are what is said of them. Those whose timing was bad wait in quarantine already."""
    asked = said(row.settings)
    wrong = row.facts["verify"]["wrong"]
    new = [one for one in _new(catalog, row) if str(one.row.id) not in wrong]
    instruction = catalog.task(asked.task).instruction
    doubted: dict[str, str] = {}
    shared.present(home, new)
    with reading(home.folder, f"night {row.id} looks", {one.row.id for one in new}):
        for number, one in enumerate(new, start=1):
            if why := "; ".join(tells(Episode(home.folder / one.standing.path), instruction)):
                doubted[str(one.row.id)] = why
            doing.tell("looking at new demonstrations", number, len(new))
    needed = asked.first if row.champion is None else asked.least
    found = gate.believable(len(new), doubted, asked.doubted, needed)
    waiting = catalog.count(Wanted(task=asked.task, outcome=Outcome.SUCCESS, quarantined=True))
    said_so = asdict(found)
    if waiting:
        said_so["why"] += f"; {waiting} more that succeeded wait in quarantine until somebody releases them"
    return {"new": len(new), "doubted": doubted, "waiting": waiting} | said_so


@once("snapshot")
def snapshot(_home: Home, catalog: Catalog, row: Night, _doing: Doing) -> Facts:
    """Freeze what is learned from: every demonstration that is sound, believed, and not set aside, and the film.

    What was recorded since the night began has not been looked at, and waits for the next one.
    """
    asked = said(row.settings)
    champion = None if row.champion is None else catalog.policy(row.champion)
    known = learned(catalog, champion)
    out = {*row.facts["verify"]["wrong"], *row.facts["grade"]["doubted"]}
    looked_at = ({str(key) for key in known} | {*row.facts["begin"]["new"]}) - out
    taught = [one for one in _teaching(catalog, asked) if str(one.row.id) in looked_at]
    watched = [one for one in _watched(catalog, row, asked) if str(one.row.id) in {*row.facts["verify"]["sound"]}]
    if not taught:
        return asdict(Gate(False, "no demonstration is left to learn from"))
    frozen = catalog.snapshot(asked.task, [*taught, *watched], f"night {row.id}")
    new = [one for one in taught if one.row.id not in known]
    aside = [one for one in every(catalog, asked.task) if set_aside(one.row, asked.aside)]
    facts = {"snapshot": frozen.id, "episodes": _ids(taught), "films": _ids(watched), "new": len(new)}
    why = f"{len(taught)} demonstrations, {len(new)} of them new; {len(aside)} are set aside to compare plans on"
    return facts | asdict(Gate(len(new) > 0, why))


@once("train")
def learn(home: Home, catalog: Catalog, row: Night, doing: Doing) -> Facts:
    """Train the candidate: from the champion, where its method goes on from a policy."""
    asked, frozen = said(row.settings), row.facts["snapshot"]
    champion = None if row.champion is None else catalog.policy(row.champion)
    among = {UUID(key) for key in [*frozen["episodes"], *frozen["films"]]}
    how = _how(home, catalog, row, asked, among)
    name = asked.method or (champion.method if champion else "ccol")
    begins = None if champion is None or asked.anew else _clean(catalog, champion)
    start = begins if begins and _goes_on(begins, name, how) else None
    trained = train(
        *(home, asked.task, name, asked.preset if asked.method or champion is None else champion.preset, how),
        tell=lambda done, of, loss: doing.tell(f"training {name}", done, of, loss),
        start=None if start is None else start.name,
        prepare=lambda what, done, of: doing.tell(what, done, of),
        name=candidate(row.id),
        among=among,
    )
    catalog.night_trained(row.id, trained.id)
    if trained.snapshot != frozen["snapshot"]:
        why = "what was to be learned from changed while the night ran: somebody trimmed, retired or judged some of it"
        return {"policy": trained.name} | asdict(Gate(False, why))
    parent = None if start is None else start.name
    why = f"{trained.name}, from {parent or 'nothing'}, on {trained.metrics['episodes']} demonstrations"
    if champion is not None and not asked.anew and begins != champion:
        why += f"; {champion.name} learned, itself or by its parents, from what is in quarantine now"
    # Whoever proves it may be another machine, which does not have the notes of this one.
    told = {"policy": trained.name, "parent": parent, "metrics": trained.metrics, "stages": _stages(home, trained)}
    return told | asdict(Gate(True, why))


@once("proof")
def proof(home: Home, catalog: Catalog, row: Night, _doing: Doing) -> Facts:
    """Prove what the candidate was made from, by what is on the disk."""
    trained = catalog.policy(candidate(row.id))
    parent = None if trained.parent is None else catalog.policy(trained.parent)
    champion = None if row.champion is None else catalog.policy(row.champion)
    shared.present(home, (), [one for one in (trained, parent) if one is not None])
    here = home.folder / trained.path
    loaded = gate.Loaded(
        parent=None if parent is None else parent.name,
        parent_recorded="" if parent is None else parent.digest,
        parent_found="" if parent is None else digest(home.folder / parent.path),
        recorded=trained.digest,
        found=digest(here),
        new=len(learned(catalog, trained) - learned(catalog, champion)),
        alike=None if parent is None else examine.alike(home.folder / parent.path, here),
        stages=row.facts["train"].get("stages") or _stages(home, trained),
    )
    return asdict(loaded) | asdict(gate.proved(loaded))


def _stages(home: Home, trained: PolicyRow) -> dict[str, dict[str, float]]:
    """How far each stage of a policy's training went, as its own notes say."""
    run = home.folder / "runs" / str(trained.id)
    notes = {note.parent.relative_to(run).as_posix(): json.loads(note.read_text()) for note in run.rglob("last.json")}
    return {
        "" if name == "." else name: {
            "done": note["done"],
            "steps": note["how"]["steps"],
            "lr": note["how"]["lr"],
        }
        for name, note in sorted(notes.items())
    }


def set_aside(episode: EpisodeRow, share: float) -> bool:
    """Whether an episode belongs to the share that no night learns from, for ever.

    By its start where that is known, so that the same start shown twice is on one side; else by its id.
    """
    start = episode.condition.get("seed")
    told = str(episode.id) if start is None else json.dumps(episode.condition, sort_keys=True)
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=4).digest()) < share * 2**32


def every(catalog: Catalog, task: str) -> list[Listed]:
    """The task's demonstrations; there may be none."""
    try:
        return demonstrations(catalog, task)
    except CannotTrain:
        return []


def _teaching(catalog: Catalog, asked: Asked) -> list[Listed]:
    """Those that nights learn from."""
    return [one for one in every(catalog, asked.task) if not set_aside(one.row, asked.aside)]


def _watched(catalog: Catalog, row: Night, asked: Asked) -> list[Listed]:
    """The task's film, where the method watches film."""
    return film(catalog, asked.task) if getattr(_method(catalog, row, asked), "watches", False) else []


def _new(catalog: Catalog, row: Night) -> list[Listed]:
    """Those that were new when the night began, and still are demonstrations."""
    new = {*row.facts["begin"]["new"]}
    return [one for one in every(catalog, row.task) if str(one.row.id) in new]


def learned(catalog: Catalog, policy: PolicyRow | None) -> set[UUID]:
    """The episodes of a policy's snapshot."""
    return set() if policy is None or policy.snapshot is None else {*catalog.learned(policy.snapshot)}


def _ids(found: Iterable[Listed]) -> list[str]:
    return [str(one.row.id) for one in found]


def _wrong(home: Home, one: Listed) -> str:
    """What is wrong with an episode's files; nothing where they are what was sealed."""
    path = home.folder / one.standing.path
    try:
        wrong = check(path)
        if not wrong and (found := Episode(path).digest) != one.standing.digest:
            wrong = [f"its digest is {found}, and the catalog has {one.standing.digest}"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        wrong = [f"it cannot be read: {error!r}"]
    return "; ".join(wrong)


def _method(catalog: Catalog, row: Night, asked: Asked) -> Any:
    """The class of the method that the night uses."""
    champion = None if row.champion is None else catalog.policy(row.champion)
    return learners.method(asked.method or (champion.method if champion else "ccol"))


def _how(home: Home, catalog: Catalog, row: Night, asked: Asked, among: Collection[UUID]) -> Any:
    """The learner: the champion's settings, with what was asked for changed; or a preset."""
    champion = None if row.champion is None else catalog.policy(row.champion)
    if champion is None or (asked.method and asked.method != champion.method):
        how = learner(asked.method or "ccol", asked.preset, asked.settings)
        return how if "cameras" in asked.settings else seeing(home, asked.task, how, among)
    shared.present(home, (), [champion])
    as_it_was = learners.load(home.folder / champion.path).how
    return changed(as_it_was, asked.settings, champion.method)


def _clean(catalog: Catalog, champion: PolicyRow) -> PolicyRow | None:
    """The champion, or the newest policy it comes from that learned nothing that is in quarantine now, if there is."""
    bad = [one.row.id for one in catalog.find(Wanted(quarantined=True, retired=None, purged=None))]
    dirty = {row.id for row in catalog.learned_from(bad).policies}
    line = [one.policy for one in catalog.lineage(champion.id).line]
    return next((row for row in line if row.id not in dirty), None)


def _goes_on(champion: PolicyRow, method: str, how: Any) -> bool:
    """Whether a learner of this method can begin from that policy."""
    return champion.method == method and not getattr(how, "remembers", False)
