"""What becomes of old episodes, by the rules that people made: a smaller copy, only the copy, or nothing.

Without a rule nothing is lost. What a rule wants gone is set aside first, as by `retire`, and deleted days later: in
between, and for good, whoever restores it keeps it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from ops import compaction
from ops import purge as purging
from storage import Catalog, Edit, EditKind, KeepingRule, Listed, Refused, Wanted
from storage.reading import readers
from storage.retention import DOES

GRACE = 7.0
"""Days from when a rule has set an episode aside until it deletes it."""

BY = "keeping rule"
"""Who does it, in edits; the rule's number follows."""

ORDER = (EditKind.PURGE, EditKind.RETIRE, EditKind.COOL, EditKind.COMPACT)
"""What cannot be taken back is done first, while what was planned is sure to hold."""


@dataclass(frozen=True)
class Due:
    """An episode, and what is to be done to it now."""

    rule: KeepingRule
    found: Listed
    does: EditKind
    """As its rule says; for what is to be deleted, ``retire`` comes first."""


@dataclass(frozen=True)
class Stays:
    """An episode that a rule is for, and why that is not done to it now."""

    rule: KeepingRule
    found: Listed
    why: str


@dataclass(frozen=True)
class Plan:
    """What the rules would do now."""

    due: tuple[Due, ...]
    stays: tuple[Stays, ...]


@dataclass
class Done:
    """What the rules did."""

    did: Counter[EditKind] = field(default_factory=Counter)
    freed: int = 0
    """Bytes of what was deleted, less those of copies that were made."""
    failed: list[str] = field(default_factory=list)
    """What could not be done, and why; it is tried again the next time."""


@dataclass(frozen=True)
class _Known:
    """What speaks against touching episodes, looked up once."""

    needed: Mapping[UUID, str]
    evidence: Mapping[UUID, int]
    read: Mapping[UUID, str]
    retired: Mapping[UUID, Edit]
    restored: Mapping[UUID, Edit]
    seen: set[UUID]
    copied: set[UUID]
    moment: datetime


def plan(catalog: Catalog, root: Path, moment: datetime, rules: Sequence[KeepingRule]) -> Plan:
    """Say what these rules would do at a moment, and change nothing.

    Of several that are for the same episode, that which does most and may counts.

    Args:
        catalog: what is known of the episodes.
        root: the data folder.
        moment: from which their age counts.
        rules: none, and nothing is done.
    """
    if not rules:
        return Plan((), ())
    found: dict[UUID, Listed] = {}
    ruled: dict[UUID, list[KeepingRule]] = {}
    for rule in sorted(rules, key=lambda each: -DOES.index(each.does)):
        until = moment - timedelta(days=rule.days)
        wanted = Wanted(task=rule.task, outcome=rule.outcome, agent=rule.agent, until=until, retired=None)
        for one in catalog.find(wanted):
            found[one.row.id] = one
            ruled.setdefault(one.row.id, []).append(rule)
    known = _known(catalog, root, moment)
    due: list[Due] = []
    stays: list[Stays] = []
    for key, one in found.items():
        for rule in ruled[key]:
            what = _step(rule, one, known)
            if isinstance(what, Stays):
                stays.append(what)
            elif what is not None:
                due.append(Due(rule, one, what))
                break
    return Plan(tuple(sorted(due, key=lambda each: ORDER.index(each.does))), tuple(stays))


def run(
    catalog: Catalog,
    root: Path,
    planned: Plan,
    tell: Callable[[Due, int, str], None] = lambda _due, _done, _why: None,
) -> Done:
    """Do what was planned, one episode after the other: what cannot be done to one is in no other's way.

    It may be interrupted at any moment; the next plan goes on from there.

    Args:
        catalog: where it is said.
        root: the data folder.
        planned: a moment ago.
        tell: hears of every episode that was dealt with, how many were, and why it stays as it was, if it does.
    """
    done = Done()
    purging.finish(catalog, root)
    for number, due in enumerate(planned.due, 1):
        why = ""
        try:
            done.freed += _do(catalog, root, due)
            done.did[due.does] += 1
        except (purging.CannotPurge, compaction.CannotCompact, Refused, OSError) as error:
            why = str(error)
            done.failed.append(f"episode {due.found.row.id}: {why}")
        tell(due, number, why)
    return done


def _do(catalog: Catalog, root: Path, due: Due) -> int:
    """Returns the bytes that it freed."""
    key, by = due.found.row.id, f"{BY} {due.rule.id}"
    why = f"of {due.rule.by}" + (f": {due.rule.why}" if due.rule.why else "")
    match due.does:
        case EditKind.RETIRE:
            catalog.edit(Edit(episode=key, kind=EditKind.RETIRE, by=by, why=why))
            return 0
        case EditKind.PURGE:
            doomed = purging.plan(catalog, root, [key])
            purging.purge(catalog, root, doomed, by, why)
            return doomed.bytes
        case _:
            cool = due.does is EditKind.COOL
            made = compaction.compact(catalog, root, due.found, by, why, cool)
            return made.before - made.after if cool else -made.after


def _known(catalog: Catalog, root: Path, moment: datetime) -> _Known:
    return _Known(
        needed=catalog.needed(),
        evidence={
            UUID(str(key)): order.id
            for order in catalog.orders(closed=None)
            for key in order.evidence.get("episodes", ())
        },
        read=readers(root),
        retired={edit.episode: edit for edit in catalog.edits(kind=EditKind.RETIRE)},
        restored={edit.episode: edit for edit in catalog.edits(kind=EditKind.RESTORE)},
        seen=catalog.with_camera(),
        copied={edit.episode for edit in catalog.edits(kind=EditKind.COMPACT)},
        moment=moment,
    )


def _step(rule: KeepingRule, found: Listed, known: _Known) -> EditKind | Stays | None:
    """What a rule does to an episode now, or why it does not; None when there is nothing left to do."""
    if rule.does is EditKind.PURGE:
        return _away(rule, found, known)
    key, cold = found.row.id, found.standing.path != found.row.path
    if found.standing.retired or cold or key not in known.seen:
        return None
    if rule.does is EditKind.COMPACT:
        # A copy beside the original takes nothing from anybody.
        return None if key in known.copied else EditKind.COMPACT
    if why := _spared(key, known):
        return Stays(rule, found, why)
    return EditKind.COOL


def _away(rule: KeepingRule, found: Listed, known: _Known) -> EditKind | Stays:
    """What a rule that deletes does to an episode now: it is set aside first."""
    key = found.row.id
    if not found.standing.retired:
        if key in known.restored:
            return Stays(rule, found, f"{known.restored[key].by} restored it")
        why = _spared(key, known)
        return Stays(rule, found, why) if why else EditKind.RETIRE
    retired = known.retired[key]
    if retired.by.startswith(BY):
        if why := _spared(key, known):
            return Stays(rule, found, why)
        if known.moment < (goes := retired.made + timedelta(days=GRACE)):
            return Stays(
                rule, found, f"it was set aside, and is deleted from {goes:%Y-%m-%d} on; restore it to keep it"
            )
    elif why := _spared(key, known, retired=True):
        return Stays(rule, found, why)
    return EditKind.PURGE


def _spared(key: UUID, known: _Known, retired: bool = False) -> str:
    """Why an episode has to stay; empty when it need not. What a person retired, whoever learned from it, may go."""
    if key in known.read:
        return f"{known.read[key]} reads it"
    if key in known.evidence:
        return f"work order {known.evidence[key]} follows from it"
    if key in known.needed and not retired:
        return f"{known.needed[key]} learned from it, which is in use"
    return ""
