"""Datasets of other programs: what the appliance has, in their form, and what they have, in ours."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from appliance import shared
from appliance.home import Home
from appliance.refusal import Refusal
from storage import (
    Catalog,
    Episode,
    Listed,
    Outcome,
    Stale,
    Task,
    Unknown,
    Verdict,
    Wanted,
    lerobot,
    rows_of,
)
from storage.apart import sweep
from storage.export import CannotWrite, Take, Written
from storage.reading import reading

BY = "import"
"""Who says how an imported episode went: whoever wrote the dataset."""

Tell = Callable[[int, int], None]
"""Told after each episode how many are done, of how many."""

SUCCESS = {Outcome.SUCCESS: 1, Outcome.FAILURE: 0}
"""What other programs are told of a verdict. -1 when there is none, or the trial did not count."""


class CannotExport(Refusal):
    """The episodes cannot be written in that form, or there are none. The message says what would help."""


class CannotImport(Refusal):
    """The dataset cannot be read. The message says which file, and which episodes came in before it."""


@dataclass(frozen=True)
class Imported:
    """What became of a dataset's episodes."""

    task: str
    new: list[UUID] = field(default_factory=list)
    known: list[UUID] = field(default_factory=list)
    """They were here already. The dataset's verdict was added where there was none; nothing else was changed."""
    broken: list[str] = field(default_factory=list)
    """Why each of the others could not be read."""
    unnamed: list[UUID] = field(default_factory=list)
    """They failed, but the dataset does not say how, so nobody's verdict is on record."""


def export[H](
    home: Home,
    wanted: Wanted,
    path: Path,
    write: Callable[[Sequence[Take], Path, H, Tell], Written],
    how: H,
    tell: Tell,
) -> Written:
    """Write episodes in another program's form, e.g. with `storage.lerobot.write`. None of them is removed meanwhile.

    Episodes in quarantine stay out unless ``wanted`` says otherwise; each one's verdict is told as ``success``.

    Raises:
        CannotExport: there are none, they do not fit together, or the path cannot be written.
        Unknown: there is no such task, policy or calibration.
    """
    if wanted.quarantined is None:
        wanted = replace(wanted, quarantined=False)
    with _explained(), home.join() as catalog:
        listed = {one.row.id for one in catalog.find(wanted)}
        with reading(home.folder, f"the export to {path}", listed):
            return write(
                _takes(home, catalog, [one for one in catalog.find(wanted) if one.row.id in listed]), path, how, tell
            )


def import_lerobot(
    home: Home, folder: Path, task: str, operator: str, tell: Tell, leave_out_broken: bool = False
) -> Imported:
    """Bring in a LeRobot dataset, v3.0 or v2.1, whoever wrote it. Bringing it in again adds only what is new.

    The task is made if there is none of that name. A column ``success`` becomes verdicts.

    Args:
        home: where to.
        folder: the dataset.
        task: what its episodes count as.
        operator: who is said to have recorded them, where the dataset does not say.
        tell: told after each episode how many are done, of how many.
        leave_out_broken: go on after an episode that cannot be read, and report it.

    Raises:
        CannotImport: it is no dataset, or an episode cannot be read. Those before it are in.
    """
    try:
        dataset = lerobot.open_dataset(folder)
    except lerobot.CannotRead as error:
        raise CannotImport(str(error)) from error
    done = Imported(task)
    sweep(home.folder)
    with home.join() as catalog:
        _demand_task(catalog, task, dataset)
        for number, episode in enumerate(dataset.episodes):
            said = {"task": task, "operator": episode.said.get("operator") or operator}
            try:
                adopted = lerobot.adopt(dataset, episode, home.folder, said, lambda key: bool(catalog.known([key])))
            except lerobot.CannotRead as error:
                if not leave_out_broken:
                    raise CannotImport(f"{error}{_so_far(done)}") from error
                done.broken.append(str(error))
            except OSError as error:
                raise CannotImport(f"episode {episode.number} cannot be kept: {error}{_so_far(done)}") from error
            else:
                _enter(catalog, home, adopted, episode.said, done)
            tell(number + 1, len(dataset.episodes))
    return done


def _so_far(done: Imported) -> str:
    return f"; {len(done.new) + len(done.known)} episodes before it are in, and importing again goes on from there"


def _enter(catalog: Catalog, home: Home, adopted: lerobot.Adopted, said: Mapping[str, Any], done: Imported) -> None:
    """Tell the catalog what it does not know of an episode, and report it.

    One that was sealed when an import was stopped may have been entered since, by whoever opened the home: then all
    but its verdict is known. A verdict that is there already, whoever gave it, stays the only one.
    """
    known, judged = bool(catalog.known([adopted.id])), bool(catalog.verdicts(adopted.id))
    verdict = None if judged else _verdict(catalog, adopted.id, said)
    new = [] if known else rows_of(Episode(adopted.path), home.folder)
    catalog.add(*new, *([] if verdict is None else [verdict]))
    (done.known if known else done.new).append(adopted.id)
    if not judged and verdict is None and said.get("success") == 0:
        done.unnamed.append(adopted.id)


def _takes(home: Home, catalog: Catalog, found: Sequence[Listed]) -> list[Take]:
    """Episodes as they stand: trimmed, judged, with the names of their policies."""
    if not found:
        raise CannotExport("no episode is like that; `appliance episodes list` shows what there is")
    policies = {policy.id: policy.name for policy in catalog.policies()}
    shared.present(home, found)
    return [_take(home, listed, policies) for listed in found]


def _take(home: Home, listed: Listed, policies: Mapping[UUID, str]) -> Take:
    row, standing = listed.row, listed.standing
    episode = Episode(home.folder / standing.path, listed.keep)
    before = episode.attributes.get("lerobot", {}).get("episode", {}).get("success", -1)
    return Take(
        episode,
        {
            "success": before if standing.outcome is None else SUCCESS.get(standing.outcome, -1),
            "failure": standing.failure,
            "task_name": standing.task,
            "policy": None if row.policy is None else policies[row.policy],
            "agent": row.agent,
            "operator": row.operator,
            "station": row.station,
            "started": row.started.isoformat(),
            "gap": row.gap,
            "lost": row.lost,
            "skew": row.skew,
            "late": row.late,
        },
    )


def _demand_task(catalog: Catalog, name: str, dataset: lerobot.Dataset) -> None:
    """Make sure that there is such a task; the dataset's own words are its instruction."""
    try:
        catalog.task(name)
    except Unknown:
        catalog.add(Task(name=name, instruction=next(iter(dataset.tasks), "") or name))


def _verdict(catalog: Catalog, episode: UUID, said: Mapping[str, Any]) -> Verdict | None:
    """What a dataset says of how an episode went; None when it does not, or not in words that we have."""
    match said.get("success"):
        case 1:
            return Verdict(episode=episode, by=BY, outcome=Outcome.SUCCESS, labelled_by="auto")
        case 0 if said.get("failure") in {mode.code for mode in catalog.failure_modes()}:
            return Verdict(episode=episode, by=BY, outcome=Outcome.FAILURE, failure=said["failure"], labelled_by="auto")
    return None


@contextmanager
def _explained() -> Generator[None]:
    """Tell a person what an export has to say, without a traceback."""
    try:
        yield
    except (CannotWrite, Stale, OSError) as error:
        raise CannotExport(str(error)) from error
