"""The way from a policy or an episode down to who showed it with what, and up to what came of it: as facts, as a tree.

Facts are plain values for JSON; a tree is said in words and is drawn by whoever shows it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from storage import Catalog, Episode, Listed, PolicyRow
from storage.lineage import Generation, Held, Lineage, Source, Tried

Kind = Literal["policy", "snapshot", "source", "trials", "promotion", "episode"]
"""What a branch is of; a picture gives each its colour."""


@dataclass(frozen=True)
class Branch:
    """One thing of a tree, in words, and what is behind it."""

    kind: Kind
    says: str
    branches: "tuple[Branch, ...]" = ()


def of_policy(catalog: Catalog, root: Path, policy: PolicyRow) -> dict[str, Any]:
    """Where a policy comes from, and what came of it.

    Args:
        catalog: what is known of it.
        root: the data folder; episodes that lie there tell which code recorded them.
        policy: whose line is asked for.
    """
    found = catalog.lineage(policy.id)
    return _line(found, None if policy.snapshot is None else revisions(catalog, root, policy.snapshot))


def of_episode(catalog: Catalog, root: Path, episode: UUID) -> dict[str, Any]:
    """What an episode was recorded with and for, and who learned from it; of a rollout, where its policy is from."""
    found = catalog.among([episode])[episode]
    row, trial = found.row, catalog.trial_of(episode)
    return {
        "id": str(row.id),
        "task": found.standing.task,
        "agent": row.agent,
        "operator": row.operator,
        "started": row.started.isoformat(),
        "station": row.station,
        "station_digest": row.station_digest,
        "calibrations": {one.name: one.calibration for one in catalog.streams(episode) if one.calibration is not None},
        "revision": _revision(root, found),
        "policy": None if row.policy is None else of_policy(catalog, root, catalog.policy(row.policy)),
        "trial": None if trial is None else {"batch": trial.batch, "turn": trial.turn},
        "order": row.order,
        "follows": None if row.follows is None else str(row.follows),
        **learned(catalog, episode),
    }


def learned(catalog: Catalog, episode: UUID) -> dict[str, Any]:
    """Which snapshots hold an episode, who learned from it, and who descends from whom of those."""
    touched = catalog.learned_from([episode])
    holding = {one.id for one in touched.snapshots}
    names = {one.id: one.name for one in touched.policies}
    return {
        "snapshots": [one.id for one in touched.snapshots],
        "learned": [one.name for one in touched.policies if one.snapshot in holding],
        "descended": {
            one.name: names[one.parent]
            for one in touched.policies
            if one.snapshot not in holding and one.parent is not None
        },
    }


def revisions(catalog: Catalog, root: Path, snapshot: str) -> dict[str, int]:
    """Which code recorded a snapshot's episodes, as far as they lie in the data folder: how many each."""
    held = catalog.among(catalog.learned(snapshot)).values()
    told = Counter(said for one in held if (said := _revision(root, one)) is not None)
    return dict(told.most_common())


def tree(facts: Mapping[str, Any]) -> Branch:
    """A policy's line in words."""
    behind = [_learned(facts["learned"], facts["revisions"]), *_parents(facts["parents"])]
    came = [
        *(Branch("trials", _trials(one)) for one in facts["trials"]),
        *([Branch("trials", f"drove {facts['drove']} episodes in all")] if facts["drove"] else []),
        *(Branch("promotion", _night(one)) for one in facts["nights"]),
        *(Branch("promotion", _promotion(one)) for one in facts["promotions"]),
        *(Branch("policy", f"went on to {_policy(one)}") for one in facts["children"]),
    ]
    return Branch("policy", _policy(facts), (*behind, *came))


def tree_of_episode(facts: Mapping[str, Any]) -> Branch:
    """An episode's line in words."""
    where = f"recorded at {_station(facts)}" + (f", code {facts['revision']}" if facts["revision"] else "")
    found = [Branch("source", where)]
    if facts["trial"]:
        found.append(Branch("trials", f"turn {facts['trial']['turn']} of batch {facts['trial']['batch']}"))
    if facts["order"]:
        found.append(Branch("promotion", f"for work order {facts['order']}"))
    if facts["follows"]:
        found.append(Branch("episode", f"repeats episode {facts['follows'][:8]}"))
    if facts["policy"]:
        driver = tree(facts["policy"])
        found.append(Branch("policy", f"driven by {driver.says}", driver.branches))
    found += [Branch("policy", f"{name} learned from it") for name in facts["learned"]]
    found += [Branch("policy", f"{name} descends from {of}, which did") for name, of in facts["descended"].items()]
    if not (facts["learned"] or facts["descended"]):
        found.append(Branch("policy", "no policy learned from it"))
    who = f" by {facts['operator']}" if facts["operator"] else ""
    says = f"episode {facts['id'][:8]} of {facts['task']}: {facts['agent']}{who}, {_day(facts['started'])}"
    return Branch("episode", says, tuple(found))


def _line(found: Lineage, recorded: Mapping[str, int] | None) -> dict[str, Any]:
    first, *parents = found.line
    return {
        **_generation(first),
        "champion": found.champion,
        "revisions": dict(recorded or {}),
        "parents": [_generation(one) for one in parents],
        "children": [_of_policy(one) for one in found.children],
        "trials": [_of_tried(one) for one in found.tried],
        "drove": found.drove,
        "nights": [
            {"id": one.id, "by": one.by, "decision": one.decision, "why": one.why, "began": one.began.isoformat()}
            for one in found.nights
        ],
        "promotions": [
            {"task": one.task, "kind": one.kind, "by": one.by, "why": one.why, "made": one.made.isoformat()}
            | {"evidence": one.evidence}
            for one in found.promotions
        ],
    }


def _generation(one: Generation) -> dict[str, Any]:
    return _of_policy(one.policy) | {"learned": None if one.held is None else _of_held(one.held)}


def _of_policy(row: PolicyRow) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "name": row.name,
        "method": row.method,
        "preset": row.preset,
        "task": row.task,
        "revision": row.revision,
        "digest": row.digest,
        "created": row.created.isoformat(),
    }


def _of_held(held: Held) -> dict[str, Any]:
    return {
        "snapshot": held.id,
        "task": held.task,
        "query": held.query,
        "created": held.created.isoformat(),
        "episodes": held.episodes,
        "seconds": round(sum(one.seconds for one in held.sources), 1),
        "sources": [_of_source(one) for one in held.sources],
    }


def _of_source(one: Source) -> dict[str, Any]:
    return {
        "operator": one.operator,
        "agent": one.agent,
        "station": one.station,
        "station_digest": one.station_digest,
        "calibrations": dict(one.calibrations),
        "episodes": one.episodes,
        "seconds": round(one.seconds, 1),
        "first": one.first.isoformat(),
        "last": one.last.isoformat(),
        "retired": one.retired,
        "quarantined": one.quarantined,
        "purged": one.purged,
    }


def _of_tried(one: Tried) -> dict[str, Any]:
    return {
        "batch": one.batch.id,
        "station": one.batch.station,
        "order": one.batch.order,
        "against": list(one.against),
        "planned": one.planned,
        "ran": one.ran,
        "outcomes": None if one.outcomes is None else {str(each): number for each, number in one.outcomes.items()},
        "created": one.batch.created.isoformat(),
    }


def _revision(root: Path, found: Listed) -> str | None:
    """None for what is gone, on another machine, or damaged: `verify` tells of that."""
    try:
        said = Episode(root / found.standing.path).attributes.get("revision")
    except (OSError, ValueError, KeyError):
        return None
    return None if said is None else str(said)


def _policy(facts: Mapping[str, Any]) -> str:
    how = f"{facts['method']} {facts['preset']}".strip()
    champion = ", CHAMPION" if facts.get("champion") else ""
    code = f", code {facts['revision']}" if facts["revision"] else ""
    return f"{facts['name']}{champion}: {how} of {facts['task']}, {_day(facts['created'])}{code}"


def _learned(held: Mapping[str, Any] | None, recorded: Mapping[str, int]) -> Branch:
    if held is None:
        return Branch("snapshot", "learned from no snapshot of its own")
    says = f"learned from {held['episodes']} episodes, {held['seconds'] / 60:.1f} min: snapshot {held['snapshot'][:8]}"
    codes = [Branch("source", f"{number} recorded with code {code}") for code, number in recorded.items()]
    return Branch("snapshot", says, (*(Branch("source", _source(one)) for one in held["sources"]), *codes))


def _parents(parents: Iterable[Mapping[str, Any]]) -> list[Branch]:
    """The nearest one, with those before it behind it."""
    behind: list[Branch] = []
    for one in reversed(list(parents)):
        behind = [Branch("policy", f"goes on from {_policy(one)}", (_learned(one["learned"], {}), *behind))]
    return behind


def _source(one: Mapping[str, Any]) -> str:
    who = f" by {one['operator']}" if one["operator"] else ""
    first, last = _day(one["first"]), _day(one["last"])
    when = first if first == last else f"{first} to {last}"
    since = [f"{one[how]} {how}" for how in ("quarantined", "retired", "purged") if one[how]]
    aside = f"; since then {', '.join(since)}" if since else ""
    return f"{one['episodes']} {one['agent']}{who} at {_station(one)}, {when}{aside}"


def _station(facts: Mapping[str, Any]) -> str:
    digest = f" ({facts['station_digest'][:8]})" if facts["station_digest"] else ""
    measured = "".join(f", {device} calibration {number}" for device, number in facts["calibrations"].items())
    return f"{facts['station'] or 'a station nobody named'}{digest}{measured}"


def _trials(one: Mapping[str, Any]) -> str:
    against = f" against {', '.join(one['against'])}" if one["against"] else ""
    of = f"{one['ran']} of {one['planned']} trials" if one["ran"] < one["planned"] else f"{one['ran']} trials"
    how = ", still open"
    if one["outcomes"] is not None:
        how = "".join(f", {number} {outcome}" for outcome, number in one["outcomes"].items() if number)
    return f"{of} in batch {one['batch']} at {one['station']}{against}{how}"


def _night(one: Mapping[str, Any]) -> str:
    decided = f"{one['decision'] or 'still runs'}" + (f", {one['why']}" if one["why"] else "")
    return f"made in the night {one['id']}: {decided}"


def _promotion(one: Mapping[str, Any]) -> str:
    batch = f", batch {one['evidence']['batch']}" if "batch" in one["evidence"] else ""
    kind = "promoted" if one["kind"] == "promoted" else "made champion again by a roll back"
    return f"{kind} {_day(one['made'])} by {one['by']}{batch}" + (f": {one['why']}" if one["why"] else "")


def _day(moment: str) -> str:
    """The date of a moment."""
    return moment.partition("T")[0]
