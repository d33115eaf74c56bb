"""What a robot did in an episode, in words: the labels that LaDA learns from, kept in the catalog and shown."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

import learners
from appliance import shared
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.settings import WrongSetting, changed
from learners.data import Windows
from learners.lada.lada import LaDA, named
from learners.lada.primitives import Primitives
from learners.senses import ROBOT, Senses
from learners.transforms import ToolView
from storage import Catalog, Episode, Labelling
from storage.grid import stamped
from storage.layout import arrival
from storage.reading import reading

KIND = "lada.primitives"
"""What labels a robot's motions."""
NUMBERS = ["way", "turn", "hand", "way bins", "turn bins"]
"""What a label says of each arm, left before right: classes, then how far in the labeller's bins."""
AT_ONCE = 64
"""Moments that a policy looks at in one go."""


class CannotName(Refusal):
    """The episode has no robot, or the policy names nothing. The message says what there is."""


@dataclass(frozen=True)
class Naming:
    """How motions are cut and named."""

    primitives: Primitives
    hz: float
    """Moments a second."""
    steps: int
    """Of a chunk."""
    policy: learners.ChunkPolicy | None = None
    """Who says what it takes its own motion to be, beside it."""


@dataclass(frozen=True)
class Named:
    """What a robot did at even moments of an episode."""

    episode: UUID
    seconds: tuple[float, ...]
    """Since the episode's first moment."""
    words: tuple[str, ...]
    artefact: str
    """Digest of how it was named."""
    new: bool
    """Whether nobody had named it so before."""
    says: tuple[str, ...] = ()
    """What the policy takes its own motion to be, if one was asked; empty where it does not see enough."""


def naming(home: Home, policy: str | None, given: Mapping[str, str]) -> Naming:
    """How to name: as a policy does, or as ``small`` LaDA would; some fields may be changed.

    Raises:
        CannotName: the policy is not of method lada.
        Unknown: there is no such policy.
        WrongSetting: there is no such field, or it cannot have that value.
    """
    if policy is None:
        small = LaDA.preset("small")
        found = Naming(small.primitives, small.hz, small.k)
    else:
        with home.join() as catalog:
            row = catalog.policy(policy)
        if row.method != "lada":
            raise CannotName(f"policy {row.name} is of method {row.method}; those of method lada name motions")
        shared.present(home, policies=[row])
        known = learners.load(home.folder / row.path)
        found = Naming(Primitives.said(known.facts), known.how.hz, known.how.k, known)
    own = {each: given[each] for each in ("hz", "steps") if each in given}
    if own and policy is not None:
        raise WrongSetting(f"policy {policy} names {found.steps} steps at {found.hz:g} Hz; leave out {', '.join(own)}")
    inside = {each: text for each, text in given.items() if each not in own}
    try:
        hz, steps = float(own.get("hz", found.hz)), int(own.get("steps", found.steps))
    except ValueError as error:
        raise WrongSetting(f"hz is a number and steps a whole one, not {own}") from error
    if hz <= 0 or steps < 1:
        raise WrongSetting(f"hz and steps are more than nothing, not {own}")
    return replace(found, primitives=changed(found.primitives, inside, "naming"), hz=hz, steps=steps)


def name(home: Home, episode: str, how: Naming) -> Named:
    """Name what the robot does from every moment of an episode on; kept, so that it is done once.

    The whole episode is named, also what was trimmed: what is used of it may change, the names need not.

    Raises:
        CannotName: it has no robot, or is too short.
        Unknown: there is no such episode.
    """
    with home.join() as catalog:
        key = catalog.episode(episode).id
        with reading(home.folder, f"naming what was done in {key}", [key]):
            standing = catalog.standing(key)
            if standing.purged:
                raise CannotName(f"episode {key} was purged; nothing is left to name")
            shared.present(home, catalog.among([key]).values())
            record = Episode(home.folder / standing.path)
            if ROBOT not in record.streams:
                raise CannotName(f"episode {key} has no robot ({ROBOT}); it has {', '.join(record.streams)}")
            return _named(catalog, key, record, how)


def _named(catalog: Catalog, key: UUID, record: Episode, how: Naming) -> Named:
    """Names of one episode: those that are kept, or new ones."""
    robot = stamped(record, ROBOT, ["width_target"])
    if not len(robot):
        raise CannotName(f"episode {key} has no rows of its robot")
    labeller = how.primitives.measured(np.asarray(robot["width_target"], float))
    facts = {**labeller.facts, "hz": how.hz, "steps": how.steps, "numbers": NUMBERS}
    artefact = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    row, new = catalog.labelling(artefact, key), False
    if row is None:
        codes = named(_cut(record, Senses((), None, 1, 0.0), how), labeller)
        row = Labelling(
            artefact=artefact,
            episode=key,
            kind=KIND,
            facts=facts,
            start=int(arrival(robot)[0]),
            period=round(1e9 / how.hz),
            shape=list(codes.shape),
            codes=codes.astype("<u2").tobytes(),
        )
        new = catalog.label(row)
        row = catalog.labelling(artefact, key) or row
    moments = row.start + row.period * np.arange(row.shape[0])
    kept = np.frombuffer(row.codes, "<u2").reshape(row.shape)
    begun = min(int(record[stream, "t"][0]) for stream in record.streams if len(record[stream, "t"]))
    seconds = tuple(float(each) for each in (moments - begun) / 1e9)
    says = () if how.policy is None else _said(record, how, moments)
    return Named(key, seconds, tuple(labeller.words(kept)), artefact, new, says)


def _said(record: Episode, how: Naming, moments: NDArray[np.int64]) -> tuple[str, ...]:
    """What the policy takes its own motion to be at the nearest moment that it sees; nothing before it sees all."""
    known: Any = how.policy
    senses, instruction = known.how.senses, str(record.attributes.get("instruction", ""))
    data = _cut(record, senses, how, instruction)
    start = max(int(arrival(stamped(record, stream))[0]) for stream in (ROBOT, *senses.cameras))
    place = np.rint((moments - start) * how.hz / 1e9).astype(int)
    seen = np.flatnonzero((place >= 0) & (place < len(data)))
    found = [""] * len(moments)
    for first in range(0, len(seen), AT_ONCE):
        some = seen[first : first + AT_ONCE]
        batch = data.batch(place[some])
        for number, text in zip(some, known.net.explain(batch.images, batch.state, batch.instructions), strict=True):
            found[number] = text
    return tuple(found)


def _cut(record: Episode, senses: Senses, how: Naming, instruction: str = "") -> Windows:
    try:
        return Windows.of([record], [instruction], senses, ToolView(), how.hz, how.steps)
    except learners.NoData as error:
        raise CannotName(str(error)) from error
