"""Film of people's hands becomes episodes in the catalog."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from appliance.home import Home
from appliance.refusal import Refusal
from collectors.human_video.checks import Finding, wrong
from collectors.human_video.clip import CannotUse, look
from collectors.human_video.cuts import BadCuts, Cut, Marks, propose, read, write
from collectors.human_video.episodes import How, Kept, bring_in, name_of
from collectors.human_video.faces import Cascades, Faces, NoModel, YuNet
from collectors.human_video.pictures import chosen
from collectors.human_video.takes import Take, place, takes
from storage import Episode, rows_of
from storage.apart import sweep

Tell = Callable[[int, int], None]
"""Told how many pictures are done, of how many."""


class CannotImport(Refusal):
    """The films cannot be brought in. The message says what is wrong, and what to do."""


@dataclass(frozen=True)
class Looked:
    """What there is in some files."""

    takes: list[Take] = field(default_factory=list)
    """Those that can be used."""
    findings: dict[str, list[Finding]] = field(default_factory=dict)
    """What speaks against each of them, by its name."""
    refused: list[str] = field(default_factory=list)
    """Why each of the others cannot be used, a line each."""


@dataclass(frozen=True)
class Imported:
    """What became of the cuts."""

    new: list[UUID] = field(default_factory=list)
    known: list[UUID] = field(default_factory=list)
    """They were here already, and nothing was changed."""
    broken: list[str] = field(default_factory=list)
    """Why others could not be brought in, a line each."""
    bare: list[UUID] = field(default_factory=list)
    """Episodes of the same film that are here from before, with faces that anybody can see."""
    faces: int = 0
    """In how many pictures a face was covered."""


def look_at(files: Sequence[Path], fovs: Sequence[str], tell: Tell = lambda _done, _of: None) -> Looked:
    """Read the files, put chapters together, and tell what speaks against each take.

    Raises:
        CannotImport: what reads films is not installed.
    """
    try:
        import av  # ruff: ignore[unused-import] - better now than for each file
    except ModuleNotFoundError as error:
        raise CannotImport("reading films needs PyAV; install it with: pip install 'appliance[exchange]'") from error
    clips, refused, seen = [], [], dict[str, Path]()
    for done, path in enumerate(files, 1):
        try:
            place(path)
            clip = look(path)
        except CannotUse as error:
            refused.append(str(error))
        else:
            if clip.digest in seen:
                refused.append(f"{path} is the same film as {seen[clip.digest]}; one of them is enough")
            else:
                seen[clip.digest] = path
                clips.append(clip)
        tell(done, len(files))
    looked = Looked(refused=refused)
    for take in takes(clips):
        names = ", ".join(str(clip.path) for clip in take.clips)
        try:
            found = wrong(take, fovs)
        except CannotUse as error:
            refused.append(str(error))
            continue
        if refusals := [str(finding) for finding in found if finding.refuses]:
            refused.append(f"{names}: {' Also: '.join(refusals)}")
        else:
            looked.takes.append(take)
            looked.findings[take.name] = found
    return looked


def proposed(looked: Looked, marks: Marks, text: str, hands: str = "") -> list[Cut]:
    """Cut every take where the person marked it."""
    return [cut for take in looked.takes for cut in propose(take, marks, text, hands)]


def followed(path: Path, looked: Looked) -> list[Cut]:
    """Read an edited cut list.

    Raises:
        CannotImport: it cannot be followed.
    """
    try:
        return read(path, looked.takes)
    except BadCuts as error:
        raise CannotImport(str(error)) from error


def offered(path: Path, cuts: Sequence[Cut]) -> None:
    """Write a cut list for a person to edit.

    Raises:
        OSError: it cannot be written.
    """
    write(path, cuts)


def detector(model: Path | None) -> Faces:
    """Who finds faces: with a model file YuNet, else what OpenCV has.

    Raises:
        CannotImport: the model file cannot be used.
    """
    try:
        return Cascades() if model is None else YuNet(model)
    except NoModel as error:
        raise CannotImport(str(error)) from error


def bring_in_all(
    home: Home,
    looked: Looked,
    cuts: Sequence[Cut],
    task: str,
    operator: str,
    faces: Faces | None,
    how: How,
    text: str = "",
    tell: Tell = lambda _done, _of: None,
) -> Imported:
    """Make an episode of every cut. Doing it again adds only what is new.

    The instruction is ``text``, or without one the task's; a cut's own text is the subtask.

    Raises:
        Unknown: there is no such task.
        OSError: the disk does not take it. The episodes before it are in.
    """
    sweep(home.folder)
    by_name = {take.name: take for take in looked.takes}
    counts = [len(chosen(by_name[cut.take].moments, cut.start, cut.end, how.hz)) for cut in cuts]
    done, new, known, broken, bare, covered = 0, list[UUID](), list[UUID](), list[str](), list[UUID](), 0
    with home.join() as catalog:
        instruction = text or catalog.task(task).instruction
        for cut, count in zip(cuts, counts, strict=True):
            before = done
            said = {"task": task, "instruction": instruction, "operator": operator}

            def seen(so_far: int, before: int = before) -> None:
                tell(before + so_far, sum(counts))

            try:
                kept: Kept = bring_in(
                    by_name[cut.take],
                    cut,
                    home.folder,
                    said,
                    looked.findings[cut.take],
                    faces,
                    how,
                    lambda key: bool(catalog.known([key])),
                    seen,
                )
            except CannotUse as error:
                broken.append(str(error))
            else:
                if kept.new or not catalog.known([kept.id]):
                    catalog.add(*rows_of(Episode(kept.path), home.folder))
                (new if kept.new else known).append(kept.id)
                covered += kept.faces
                other = name_of(by_name[cut.take], cut, bare=True)
                if faces is not None and (home.folder / "episodes" / f"{other}.zarr").exists():
                    bare.append(other)
            done += count
            tell(done, sum(counts))
    return Imported(new, known, broken, bare, covered)
