"""From a task's successful episodes to a policy in the catalog."""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

import learners
from appliance.home import Home
from appliance.refusal import Refusal
from appliance.version import revision
from learners.train import Diverged
from ops.purge import CACHES
from storage import Catalog, Episode, Listed, Outcome, PolicyRow, Wanted, digest
from storage.layout import RGB
from storage.pictures import NoRoom, Pictures, Pixels, cached, caches, drop
from storage.reading import reading

QUERY = "last judged a success, neither retired nor quarantined, not driven by a policy"
"""Which episodes of a task are learned from."""


class CannotTrain(Refusal):
    """There is nothing to learn from. The message says what there is."""


class WrongSetting(Refusal):
    """No such method, preset or field, or a value it cannot have. The message says what would be right."""


def learner(method: str, preset: str, settings: Mapping[str, str]) -> Any:
    """Make a method's learner from a preset, with some fields changed to what a person typed.

    Fields of its training loop are named like its own: ``lr`` and ``steps`` need no prefix.

    Raises:
        WrongSetting: there is no such method, preset or field, or the field cannot have that value.
    """
    try:
        made = learners.method(method).preset(preset)
    except ValueError as error:
        raise WrongSetting(str(error)) from error
    return changed(made, settings, method)


def changed[T](value: T, settings: Mapping[str, str], where: str) -> T:
    """Return a copy of a dataclass with some fields, its own or those of a part of it, set from text.

    Raises:
        WrongSetting: there is no such field, or it cannot have that value.
    """
    owners = _owners(value)
    if unknown := sorted(settings.keys() - owners.keys()):
        raise WrongSetting(f"{where} has no {', '.join(unknown)}; it takes: {', '.join(sorted(owners))}")
    fields: dict[str, Any] = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}  # type: ignore[arg-type]  # T is a dataclass
    for name, text in settings.items():
        part = owners[name]
        if part is None:
            fields[name] = _read(text)
        else:
            fields[part] = _plain(fields[part]) | {name: _read(text)}
    try:
        return TypeAdapter(type(value)).validate_python(fields)
    except ValidationError as error:
        wrong = (f"{e['loc'][-1] if e['loc'] else where} = {e['input']!r}: {e['msg']}" for e in error.errors())
        raise WrongSetting(f"{where}: {'; '.join(wrong)}") from error


def seeing[T](home: Home, task: str, how: T) -> T:
    """The same learner, looking through its own cameras where the task was shown to them, else through all there were.

    Raises:
        CannotTrain: the task has no successful demonstration.
        Unknown: there is no such task.
    """
    wanted = getattr(how, "cameras", ())
    with home.join() as catalog:
        first = demonstrations(catalog, task)[0]
    shown = Episode(home.folder / first.standing.path)
    there = tuple(stream for stream in shown.streams if RGB in (shown.dtype(stream).names or ()))
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
) -> PolicyRow:
    """Fit a learner to the task's demonstrations, and keep the policy; ``start`` names one to go on from.

    ``tell`` hears of every step, ``prepare`` of what comes before the first.

    A run that was interrupted goes on where it stopped when the same settings meet the same demonstrations again.

    Raises:
        CannotTrain: the task has no successful demonstration, or its loss became infinite.
        Unknown: there is no such task.
    """
    with home.join() as catalog, ExitStack() as held:
        instruction = catalog.task(task).instruction
        there = {one.row.id for one in demonstrations(catalog, task)}
        held.enter_context(reading(home.folder, f"training {method} on {task}", there))
        # Nobody takes these away from here on; where they are now is what counts.
        shown = [one for one in demonstrations(catalog, task) if one.row.id in there]
        frozen = catalog.snapshot(task, shown, QUERY)
        began = time.monotonic()
        name = uuid4()
        settings = json.loads(json.dumps(dataclasses.asdict(how), default=str))
        parent = None if start is None else catalog.policy(start)
        run = home.folder / "runs" / _fingerprint(method, settings, frozen.id, parent)
        try:
            data = learners.windows(
                how,
                [Episode(home.folder / one.standing.path, one.keep) for one in shown],
                [instruction] * len(shown),
                lambda done, of: prepare("reading episodes", done, of),
                _unpacking(home.folder / CACHES, frozen.id, how, prepare),
            )
            if not any(isinstance(pixels, Pictures) for pixels in data.frames):
                held.close()
            policy = how.fit(data, run, tell, None if parent is None else learners.load(home.folder / parent.path))
        except (learners.NoData, learners.CannotGoOn, learners.BadCheckpoint, Diverged) as error:
            raise CannotTrain(f"{method}: {error}") from error
        unnamed = home.folder / "policies" / f"{name}.part"
        policy.save(unnamed)
        folder = unnamed.rename(home.folder / "policies" / str(name))
        row = PolicyRow(
            id=name,
            name=catalog.next_policy_name(method),
            method=method,
            preset=preset,
            settings=settings,
            task=task,
            snapshot=frozen.id,
            parent=None if parent is None else parent.id,
            path=folder.relative_to(home.folder).as_posix(),
            digest=digest(folder),
            revision=revision(),
            metrics={
                "episodes": len(shown),
                "windows": len(data),
                "seconds": round(time.monotonic() - began, 1),
            }
            | policy.measured,
        )
        catalog.add(row)
        if run.exists():
            run.rename(run.with_name(str(name)))
        return row


def _fingerprint(method: str, settings: Mapping[str, Any], snapshot: str, parent: PolicyRow | None) -> str:
    """What two runs have in common when the second may go on where the first stopped."""
    # However many workers help, the run is the same.
    parts = {k: {**v, "workers": None} if k == "training" else v for k, v in settings.items()}
    same = [method, parts, snapshot, None if parent is None else str(parent.id), revision()]
    return hashlib.blake2b(json.dumps(same, sort_keys=True).encode(), digest_size=8).hexdigest()


def demonstrations(catalog: Catalog, task: str) -> list[Listed]:
    """The task's episodes to learn from, oldest first; those that are quarantined wait until somebody releases them.

    Raises:
        CannotTrain: there are none.
        Unknown: there is no such task.
    """
    good = [
        one
        for one in catalog.find(Wanted(task=task, outcome=Outcome.SUCCESS, quarantined=False))
        if one.row.policy is None
    ]
    if not good:
        there = catalog.count(Wanted(task=task))
        waiting = catalog.count(Wanted(task=task, outcome=Outcome.SUCCESS, quarantined=True))
        raise CannotTrain(
            f"task {task!r} has no successful demonstration among its {there} episodes"
            + (f"; {waiting} that succeeded are in quarantine" if waiting else "")
            + f"; collect some: appliance collect --task {task} --by scripted"
        )
    return good


def _unpacking(
    folder: Path, snapshot: str, how: Any, prepare: Callable[[str, int, int], None]
) -> Callable[[str, Pictures], Pixels]:
    """How a camera's pictures are read: unpacked once for all when they are looked at more than once and fit."""
    training = getattr(how, "training", None)
    looks = 0 if training is None else training.steps * training.batch

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


def _owners(value: Any) -> dict[str, str | None]:
    """For every field a person may set, the part it belongs to; None for the dataclass's own."""
    owners: dict[str, str | None] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if dataclasses.is_dataclass(part):
            owners |= {inner.name: field.name for inner in dataclasses.fields(part) if inner.init}
    return owners | {f.name: None for f in dataclasses.fields(value) if f.init and f.name not in set(owners.values())}


def _plain(part: Any) -> dict[str, Any]:
    return part if isinstance(part, dict) else {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}


def _read(text: str) -> Any:
    """A number, a list, true or null as JSON has it; anything else is the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
