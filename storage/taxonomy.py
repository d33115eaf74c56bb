"""Ways to fail that have a name: those everybody has, and a task's own, each a special case of one of them."""

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.models import FailureMode, Task
from storage.rows import Refused, insert, one

COMMON = "failure-taxonomy/1.0"
"""What the common codes mean."""

OWN = re.compile(r"(?P<of>[A-Z-]+)\.(?P<word>[a-z0-9_]+)")
"""A task's own code: the common one that it is a case of, and a word."""


def modes(session: Session, task: str | None) -> list[FailureMode]:
    """Every way to fail, by code; with a task, the common ones and its own.

    Raises:
        Unknown: there is no such task.
    """
    found = session.scalars(select(FailureMode).order_by(FailureMode.code))
    if task is None:
        return list(found)
    one(session, Task, task)
    return [mode for mode in found if mode.taxonomy in {COMMON, _of(task)}]


def extend(session: Session, task: str, code: str, name: str, meaning: str) -> FailureMode:
    """Give a task a code of its own, which counts as the common one wherever tasks are compared.

    Raises:
        Refused: it is no special case of a common code, or means something else already.
        Unknown: there is no such task.
    """
    one(session, Task, task)
    common = {mode.code: mode for mode in modes(session, None) if mode.taxonomy == COMMON}
    read = OWN.fullmatch(code)
    if read is None or read["of"] not in common:
        raise Refused(
            f"{code!r} is no case of a common code: write one of {', '.join(common)}, a dot and a word, e.g. PREC.lid"
        )
    stage = common[read["of"]].stage
    row = FailureMode(code=code, name=name, stage=stage, meaning=meaning, taxonomy=_of(task))
    return insert(session, row)


def _of(task: str) -> str:
    return f"{task}/1.0"
