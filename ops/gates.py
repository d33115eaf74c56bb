"""What a night has to get past before its candidate is tried: each gate says yes, or no and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Gate:
    """What a gate said."""

    passed: bool
    why: str
    """In a sentence, also when it lets the night go on."""


def fresh(champion: str | None, known: int, new: int, least: int, first: int) -> Gate:
    """Whether there is anything to learn that the champion has not learned, or enough for a first policy.

    Args:
        champion: its name; None while there is none.
        known: demonstrations in its snapshot.
        new: demonstrations that are not.
        least: how many have to be new.
        first: how many a first policy needs.
    """
    if champion is None:
        enough = new >= first
        return Gate(enough, f"{new} demonstrations for a first policy, and it needs {first}")
    if new < least:
        return Gate(False, f"{_counted(new)} new since {champion} learned from {known}, and a night needs {least}")
    return Gate(True, f"{_counted(new)} new since {champion} learned from {known}")


def room(free: int, need: int) -> Gate:
    """Whether the disk has room for a night, in bytes."""
    said = f"{free / 1e9:.1f} GB of the data folder's disk are free, and a night needs {need / 1e9:.1f} GB"
    return Gate(free >= need, said)


def sound(looked: int, wrong: Mapping[str, str], most: float) -> Gate:
    """Whether what is on the disk is what was sealed."""
    if len(wrong) > max(1, most * looked):
        return Gate(False, f"{len(wrong)} of {looked} demonstrations are not what was sealed: {_first(wrong)}")
    return Gate(looked > len(wrong), f"{looked - len(wrong)} of {looked} demonstrations are what was sealed")


def believable(new: int, doubted: Mapping[str, str], most: float, needed: int) -> Gate:
    """Whether new demonstrations show what is said of them.

    Args:
        new: how many there are.
        doubted: those that contradict themselves, and why; they are not learned from.
        most: the share of new ones that may, and one always may; where more do, somebody should look before anything
            is learned.
        needed: how many have to be left.
    """
    if len(doubted) > max(1, most * new):
        words = f"{len(doubted)} of {new} new demonstrations contradict what is said of them"
        return Gate(False, f"{words} (at most {most:.0%} may): {_first(doubted)}")
    if new - len(doubted) < needed:
        return Gate(False, f"of {new} new demonstrations {len(doubted)} are doubted, and {needed} have to be left")
    return Gate(True, f"{new - len(doubted)} of {new} new demonstrations show what is said of them")


@dataclass(frozen=True)
class Loaded:
    """What a candidate was made from, as found on the disk and in the catalog."""

    parent: str | None
    """Name of the policy that it went on from; None where it began from nothing."""
    parent_recorded: str
    """Digest of that policy in the catalog."""
    parent_found: str
    """Digest of its files."""
    recorded: str
    """Digest of the candidate in the catalog."""
    found: str
    """Digest of its files."""
    new: int
    """Episodes of its snapshot that are not in the champion's."""
    alike: float | None
    """Cosine between its weights and the parent's; None without a parent, or where none can be compared."""
    stages: Mapping[str, Mapping[str, float]]
    """Of each stage of its training, ``done`` and ``steps`` and ``lr``; none of a method that only remembers."""


APART = 0.3
"""Weights whose cosine with the parent's is smaller were begun apart.

Measured of CCoL: 0.99 after 400 steps from a parent, 0.13 between two that began apart and learned 400 steps each.
"""


def proved(loaded: Loaded) -> Gate:
    """Whether the candidate comes from what it was said to: the parent, new episodes, a schedule of its own."""
    wrong = []
    if loaded.parent is not None and loaded.parent_found != loaded.parent_recorded:
        wrong.append(f"the files of {loaded.parent} have digest {loaded.parent_found}, not {loaded.parent_recorded}")
    if loaded.found != loaded.recorded:
        wrong.append(f"the candidate's files have digest {loaded.found}, not {loaded.recorded}")
    if loaded.new < 1:
        wrong.append("its snapshot has no episode that the champion did not learn from")
    if loaded.alike == 1:
        wrong.append(f"its weights are those of {loaded.parent}: it has learned nothing")
    elif loaded.alike is not None and loaded.alike < APART:
        said = f"its weights have nothing of those of {loaded.parent}"
        wrong.append(f"{said}: their cosine is {loaded.alike:.2f}, so it did not go on from them")
    for name, stage in loaded.stages.items():
        if not stage["done"] == stage["steps"] > 0:
            wrong.append(f"{name or 'its training'} stopped at step {stage['done']:.0f} of {stage['steps']:.0f}")
        if not stage["lr"] > 0:
            wrong.append(f"{name or 'its training'} had a learning rate of {stage['lr']}")
    if wrong:
        return Gate(False, "; ".join(wrong))
    begun = "from nothing" if loaded.parent is None else f"from {loaded.parent} ({loaded.parent_found[:8]})"
    alike = "" if loaded.alike is None else f", its weights' cosine with them {loaded.alike:.3f}"
    schedule = ", ".join(f"{one['done']:.0f} steps at {one['lr']:g}" for one in loaded.stages.values())
    return Gate(True, f"{begun}, with {loaded.new} new episodes{alike}{schedule and f'; {schedule}, from step 0'}")


@dataclass(frozen=True)
class Row:
    """How far two policies' plans are from what was done in some demonstrations that neither learned from.

    An error is the mean distance from what was done, in standard deviations of it: standing still is about 0.8.
    """

    what: str
    """The task, or a part of it."""
    episodes: int
    champion: float | None
    """None where it was not measured."""
    candidate: float | None
    """None where it was not measured, or where its plans are no numbers."""
    guarded: bool
    """Whether the candidate is refused for having forgotten this."""
    seen: str = ""
    """Which of them learned from these episodes, if any did."""

    @property
    def forgotten(self) -> float | None:
        """By which share the candidate's error is larger than the champion's; negative where it is smaller."""
        if self.champion is None or self.candidate is None or self.champion <= 0:
            return None
        return self.candidate / self.champion - 1


def harmless(board: Collection[Row], most: float, keep: Collection[str] = ()) -> Gate:
    """Whether the candidate still does what the champion does: no guarded row's error grew by more than ``most``.

    No trial tells of tasks to ``keep``, so that each of them has to be measured.
    """
    for row in board:
        if row.guarded and row.champion is not None and row.candidate is None:
            return Gate(False, f"its plans for {row.what} are no numbers, and the champion's are")
    for task in keep:
        rows = [row for row in board if row.what == task]
        if all(row.forgotten is None for row in rows):
            other = any(row.candidate is not None for row in rows)
            why = "the champion plans other numbers" if other else "there is nothing to compare plans on"
            why = "; ".join(row.seen for row in rows if row.seen and not other) or why
            return Gate(False, f"{task} may not be forgotten, and nothing was measured of it: {why}")
    harmed = [row for row in board if row.guarded and row.forgotten is not None and row.forgotten > most]
    if harmed:
        worst = max(harmed, key=lambda row: row.forgotten or 0.0)
        said = f"its error on {worst.what} is {worst.candidate:.3f}, and the champion's is {worst.champion:.3f}"
        return Gate(False, f"{said}: {worst.forgotten:.0%} more, and at most {most:.0%} is harmless")
    measured = [row for row in board if row.guarded and row.forgotten is not None]
    if not measured:
        return Gate(True, "there is nothing to measure forgetting on; trials decide")
    worst = max(measured, key=lambda row: row.forgotten or 0.0)
    return Gate(
        True, f"its error on {worst.what} changed by {worst.forgotten:+.0%}, the most of {len(measured)} measured"
    )


def _counted(new: int) -> str:
    return "nothing is" if new == 0 else f"{new} demonstration{' is' if new == 1 else 's are'}"


def _first(said: Mapping[str, str]) -> str:
    """The first few, in words."""
    some = [f"{key[:8]} {why}" for key, why in list(said.items())[:3]]
    return "; ".join(some) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")
