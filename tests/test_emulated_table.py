"""The cell of a rehearsal: the twin's table behind a real Franka's wire, each part in a program of its own."""

from contextlib import ExitStack

import numpy as np
import pytest

from drivers import DeviceError, Guard, Limits, Rows
from drivers.emulators.fci.table import EmulatedTable
from drivers.kinematics import HIGH, LOW


@pytest.mark.slow
def test_the_twins_task_is_solved_through_the_wire() -> None:
    """The scripted hand puts a cube on a pad; the real client moves the emulated arm; cameras and truth watch."""
    scripted = pytest.importorskip("collectors.scripted")
    loops = pytest.importorskip("collectors.loop")

    class Kept:
        def __init__(self) -> None:
            self.rows: dict[str, list[Rows]] = {}

        def append(self, stream: str, rows: Rows) -> None:
            self.rows.setdefault(stream, []).append(rows.copy())

    cell = EmulatedTable()
    guard = Guard(cell.robot, Limits(LOW, HIGH, (1.3, 1.3, 1.3, 1.3, 2.6, 2.0, 2.6)), cell.clock)
    with ExitStack() as stack:
        for device in (guard, *cell.watching):
            stack.enter_context(device)
        cell.arrange({"seed": 3})
        agent = scripted.Scripted(guard.kinematics, guard.action, 3, pace=0.5)
        kept = Kept()
        loop = loops.Loop(guard, cell.watching, cell.clock, 20)
        ended = loop.run(agent, "put the red cube on the yellow pad", kept, limit=90, done=agent.done)
    assert ended == "done"
    assert agent.succeeded
    assert len(np.concatenate(kept.rows["front"])) > 50


def test_a_condition_that_the_scene_cannot_have_is_refused() -> None:
    with pytest.raises(DeviceError, match="has no"):
        EmulatedTable().arrange({"purple_cube": [0, 0, 0]})
