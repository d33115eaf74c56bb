"""Say how a take ended and, if it failed, at which event success was lost.

A judgement is a pure function of recorded rows, so that it can be made again, by newer rules, from the same record.
Which rules can read a take follows from what its truth holds.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ops.judging import aloha, suite, table
from ops.judging.judgement import Judgement, invalid
from ops.judging.scene import Rows
from ops.judging.stops import Stop, blamed, stopped
from storage import Episode, Observation


class Judge(Protocol):
    """Rules for one kind of cell: a module of ``ops.judging``."""

    def fits(self, names: Sequence[str], /) -> bool:
        """Whether these rules can read a truth with these fields."""
        ...

    def judge_rows(
        self,
        truth: Rows,
        arm: Rows,
        instruction: str,
        end: int | None = None,
        sizes: Mapping[str, Sequence[float]] | None = None,
        /,
    ) -> Judgement:
        """Judge a take from its rows of truth and arm.

        ``end`` is when its last tick was due, in nanoseconds; ``sizes`` are what the table says of its things: width,
        depth and height, in metres.
        """
        ...

    def finished(self, streams: Mapping[str, Rows], instruction: str, /) -> bool:
        """Tell a running loop that the task is done: the same rule that judges the record."""
        ...


JUDGES: tuple[Judge, ...] = (table, suite, aloha)


def judge(episode: Episode, instruction: str) -> Judgement:
    """Judge a recorded take.

    A take that ended in a fault is invalid, unless whoever drove caused it, see `ops.judging.stops`.

    Args:
        episode: has the streams ``truth`` and ``arm``; ``ticks`` tell when the loop ended, ``ended_by`` how.
        instruction: as the robot was told, e.g. "put the red cube on the yellow pad".

    Raises:
        Unclear: the instruction does not say what is to be done with what stands on the table.
    """
    stop = caused(episode)
    if stop is None and episode.attributes.get("ended_by") == "fault":
        why = episode.attributes.get("fault", "a device, the recorder or the controller failed")
        return invalid(f"the loop ended in a fault: {why}")
    if missing := [stream for stream in ("truth", "arm") if stream not in episode.streams]:
        return invalid(f"there is no stream {missing[0]!r}; the episode has {', '.join(episode.streams) or 'none'}")
    truth = episode.rows("truth")
    ticks = episode["ticks", "t"][-1:].tolist() if "ticks" in episode.streams else []
    try:
        rules = _of(truth)
    except LookupError as error:
        return invalid(str(error))
    found = rules.judge_rows(truth, episode.rows("arm"), instruction, max(ticks, default=None), _sizes(episode))
    return found if stop is None else blamed(found, stop)


def caused(episode: Episode) -> Stop | None:
    """What whoever drove did that ended the take in a fault, if anything. A program that died says nothing of it."""
    said = episode.attributes
    if said.get("ended_by") != "fault" or said.get("recovered") or not {"arm", "action"} <= {*episode.streams}:
        return None
    return stopped(episode.rows("arm"), episode.rows("action"))


def finished(seen: Observation, instruction: str) -> bool:
    """Tell a running loop that the task is done: the same rule that judges the record.

    Raises:
        LookupError: the cell has no ground truth that rules can read, so nobody can know.
        Unclear: the instruction does not say what is to be done with what stands on the table.
    """
    if "truth" not in seen.streams:
        raise LookupError(f"success cannot be seen without the stream 'truth'; this cell has {sorted(seen.streams)}")
    return _of(seen.streams["truth"]).finished(seen.streams, instruction)


def _sizes(episode: Episode) -> dict[str, Sequence[float]]:
    """How large each thing was, as its table said of itself; nothing of one that says nothing."""
    said = episode.attributes.get("devices", {}).get("truth", {}).get("things", {})
    return {name: thing["size"] for name, thing in said.items()}


def _of(truth: Rows) -> Judge:
    names = truth.dtype.names or ()
    for rules in JUDGES:
        if rules.fits(names):
            return rules
    raise LookupError(f"no rules can read a truth of {', '.join(names)}")
