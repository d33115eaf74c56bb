"""From a task's successful episodes, and its film of people, to a policy in the catalog."""

import dataclasses
import functools
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import learners
from appliance import shared
from appliance.film import AGENTS, film
from appliance.film import QUERY as FILM
from appliance.home import Home
from appliance.label import Noted
from appliance.refusal import Refusal
from appliance.version import revision
from learners.train import Diverged
from ops import axes
from ops.purge import CACHES
from storage import Catalog, Episode, Listed, Outcome, PolicyRow, Unknown, Wanted, digest
from storage.layout import RGB
from storage.orders import LED
from storage.pictures import NoRoom, Pictures, Pixels, cached, caches, drop
from storage.reading import reading
from storage.snapshot import freeze

QUERY = "last judged a success, neither retired nor quarantined, not driven by a policy, not repeated without the hand"
"""Which episodes of a task are learned from."""


class CannotTrain(Refusal):
    """There is nothing to learn from. The message says what there is."""


def seeing[T](home: Home, task: str, how: T, among: Collection[UUID] | None = None) -> T:
    """The same learner, looking through its own cameras where all of the task was shown to them, else through all such.

    ``among`` narrows what is looked at.

    Raises:
        CannotTrain: the task has no successful demonstration.
        Unknown: there is no such task.
    """
    wanted = getattr(how, "cameras", ())
    with home.join() as catalog:
        known = {one.row.id for one in demonstrations(catalog, task)}
        with reading(home.folder, f"a look at what {task} was shown to", known):
            found = [one for one in demonstrations(catalog, task) if among is None or one.row.id in among]
            shared.present(home, found)
            shown = [Episode(home.folder / one.standing.path) for one in found]
            eyes = [[name for name in each.streams if RGB in (each.dtype(name).names or ())] for each in shown]
    there = tuple(name for name in eyes[0] if all(name in each for each in eyes))
    return how if set(wanted) <= set(there) or not there else dataclasses.replace(how, cameras=there)  # type: ignore[type-var]  # learners are dataclasses


def train(
    home: Home,
    task: str,
    method: str,
    preset: str,
    how: Any,
    tell: Callable[[int, int, float], None],
    start: str | None = None,
    prepare: Callable[[str, int, int], None] = lambda _what, _done, _of: None,
    hands: bool = False,
    name: UUID | None = None,
    among: Collection[UUID] | None = None,
) -> PolicyRow:
    """Fit a learner to the task's demonstrations, and keep the policy; ``start`` names one to go on from.

    ``hands`` keeps what shows a person's hand, see `demonstrations`; the policy's metric ``left_out`` counts it else.

    ``name`` is the policy's id: one that is there already is returned as it is. ``among`` narrows what is learned from.

    ``tell`` hears of every step, ``prepare`` of what comes before the first.

    A run that was interrupted goes on where it stopped when the same settings meet the same demonstrations again.

    Processes that `launch` started together all cut the same windows; the main one keeps the policy.

    Raises:
        CannotTrain: the task has no successful demonstration, or its loss became infinite.
        Unknown: there is no such task.
    """
    with home.join() as catalog, ExitStack() as held, learners.joined() as ranks:
        name = UUID(ranks.told(lambda: str(name or uuid4())))
        if ranks.told(lambda: _known(catalog, name) is not None):
            ranks.told(lambda: shared.push_policy(home, catalog.policy(name)))
            return catalog.policy(name)
        instruction = catalog.task(task).instruction
        watches = bool(getattr(how, "watches", False))
        there = {
            one.row.id for one in [*demonstrations(catalog, task, hands), *(film(catalog, task) if watches else [])]
        }
        held.enter_context(reading(home.folder, f"training {method} on {task}", there))
        if among is not None:
            there &= set(among)
        # Nobody takes these away from here on; where they are now is what counts.
        taught = demonstrations(catalog, task, hands)
        shown = [one for one in taught if one.row.id in there]
        watched = [one for one in film(catalog, task) if one.row.id in there] if watches else []
        if not shown:
            raise CannotTrain(
                f"none of the {len(among or ())} episodes to learn from is a demonstration of {task!r} now"
            )
        left_out = len(demonstrations(catalog, task, hands=True)) - len(taught)
        frozen = freeze([*shown, *watched], f"{QUERY}; {FILM}" if watched else QUERY)
        began = time.monotonic()
        settings = json.loads(json.dumps(dataclasses.asdict(how), default=str))
        parent = None if start is None else catalog.policy(start)
        same = _fingerprint(method, settings, frozen.id, parent)
        if ranks.told(lambda: same) != same:
            raise CannotTrain(
                f"process {ranks.index + 1} of {ranks.of} has other settings or another revision than the main one, or "
                "found other episodes; ask again, of machines that have the same of each"
            )
        ranks.told(lambda: catalog.snapshot(task, [*shown, *watched], frozen.query).id)
        shared.present(home, [*shown, *watched], [] if parent is None else [parent], prepare)
        run = home.folder / "runs" / same
        unpacking = _unpacking(home.folder / CACHES, frozen.id, how, prepare)
        try:
            data = learners.windows(
                how,
                [Episode(home.folder / one.standing.path, one.keep) for one in shown],
                [axes.told(instruction, one.row.condition) for one in shown],
                lambda done, of: prepare("reading episodes", done, of),
                unpacking,
            )
            given: dict[str, Any] = {}
            if watches:
                # What is said in a film may be of other things than the task names.
                seen = [Episode(home.folder / one.standing.path, one.keep) for one in watched]
                given = {"stage": functools.partial(_stage, prepare), "keeping": functools.partial(Noted, catalog)}
                if seen:
                    given["film"] = learners.footage(
                        how,
                        seen,
                        [str(each.attributes.get("instruction") or instruction) for each in seen],
                        lambda done, of: prepare("reading film", done, of),
                        lambda camera, pictures: unpacking(f"film-{camera}", pictures),
                    )
            kept = [*data.frames, *([given["film"].frames] if "film" in given else [])]
            if not any(isinstance(pixels, Pictures) for pixels in kept):
                held.close()
            policy = how.fit(
                data, run, tell, None if parent is None else learners.load(home.folder / parent.path), **given
            )
        except (learners.NoData, learners.CannotGoOn, learners.BadCheckpoint, Diverged) as error:
            raise CannotTrain(f"{method}: {error}") from error
        said = {
            "episodes": len(shown),
            "left_out": left_out,
            **({"films": len(watched)} if watches else {}),
            "windows": len(data),
            "seconds": round(time.monotonic() - began, 1),
        }
        row = {
            "id": name,
            "method": method,
            "preset": preset,
            "settings": settings,
            "task": task,
            "snapshot": frozen.id,
            "parent": None if parent is None else parent.id,
            "metrics": said | policy.measured,
        }
        ranks.told(lambda: _keep(home, catalog, policy, row, run))
        return catalog.policy(name)


def _keep(home: Home, catalog: Catalog, policy: Any, row: dict[str, Any], run: Path) -> None:
    """Store a policy, and tell the catalog of it; what another process that did the same has stored stays."""
    if _known(catalog, row["id"]) is not None:
        return
    unnamed = home.folder / "policies" / f"{row['id']}.part"
    for leftover in (unnamed, unnamed.with_suffix("")):
        shutil.rmtree(leftover, ignore_errors=True)  # of a program that died before it wrote the row
    policy.save(unnamed)
    folder = unnamed.rename(unnamed.with_suffix(""))
    catalog.add(
        PolicyRow(
            name=catalog.next_policy_name(row["method"]),
            path=folder.relative_to(home.folder).as_posix(),
            digest=digest(folder),
            revision=revision(),
            **row,
        )
    )
    if run.exists():
        run.rename(run.with_name(folder.name))
    shared.push_policy(home, catalog.policy(row["id"]))


def _known(catalog: Catalog, name: UUID) -> PolicyRow | None:
    """The policy of that id, if there is one."""
    try:
        return catalog.policy(name)
    except Unknown:
        return None


def _fingerprint(method: str, settings: Mapping[str, Any], snapshot: str, parent: PolicyRow | None) -> str:
    """What two runs have in common when the second may go on where the first stopped."""
    same = [method, _without_workers(settings), snapshot, None if parent is None else str(parent.id), revision()]
    return hashlib.blake2b(json.dumps(same, sort_keys=True).encode(), digest_size=8).hexdigest()


def _without_workers(settings: Any) -> Any:
    """However many of them help, the run is the same."""
    if not isinstance(settings, Mapping):
        return settings
    return {name: None if name == "workers" else _without_workers(value) for name, value in settings.items()}


def _stage(prepare: Callable[[str, int, int], None], name: str) -> Callable[[int, int, float], None]:
    """How a stage of a learner that has several tells of its steps."""

    def tell(done: int, of: int, loss: float) -> None:
        prepare(f"{name}, loss {loss:.4f}" if math.isfinite(loss) else name, done, of)

    return tell


def demonstrations(catalog: Catalog, task: str, hands: bool = False) -> list[Listed]:
    """The task's episodes to learn from, oldest first; those that are quarantined wait until somebody releases them.

    What was led by hand is left out, unless ``hands``, once a success repeats it: that is the same motion as a policy
    will see it, without a hand in the pictures.

    Raises:
        CannotTrain: there are none.
        Unknown: there is no such task.
    """
    good = [
        one
        for one in catalog.find(Wanted(task=task, outcome=Outcome.SUCCESS, quarantined=False))
        if one.row.policy is None and one.row.agent not in AGENTS
    ]
    if not good:
        there = catalog.count(Wanted(task=task))
        waiting = catalog.count(Wanted(task=task, outcome=Outcome.SUCCESS, quarantined=True))
        raise CannotTrain(
            f"task {task!r} has no successful demonstration among its {there} episodes"
            + (f"; {waiting} that succeeded are in quarantine" if waiting else "")
            + f"; collect some: appliance collect --task {task} --by scripted"
        )
    again = set() if hands else {one.row.follows for one in good}
    return [one for one in good if one.row.agent != LED or one.row.id not in again]


def _unpacking(
    folder: Path, snapshot: str, how: Any, prepare: Callable[[str, int, int], None]
) -> Callable[[str, Pictures], Pixels]:
    """How a camera's pictures are read: unpacked once for all when they are looked at more than once and fit."""
    training = getattr(how, "training", None)
    looks = getattr(how, "looks", 0 if training is None else training.steps * training.batch)

    def pixels(camera: str, pictures: Pictures) -> Pixels:
        if looks <= len(pictures):
            return pictures
        _make_room(folder, snapshot, pictures.bytes)
        try:
            return cached(
                folder, f"{snapshot}-{camera}", pictures, lambda done, of: prepare(f"unpacking {camera}", done, of)
            )
        except NoRoom as error:
            prepare(f"not unpacking {camera}: {error}", 0, len(pictures))
            return pictures

    return pixels


def _make_room(folder: Path, snapshot: str, need: int) -> None:
    """Drop other snapshots' caches, oldest first, until all of them and ``need`` take half of the room at most."""
    if not folder.exists():
        return
    there = caches(folder)
    held = sum(cache.bytes for cache in there)
    most = (shutil.disk_usage(folder).free + held) // 2
    for cache in there:
        if held + need > most and not cache.path.name.startswith(snapshot) and drop(cache):
            held -= cache.bytes
