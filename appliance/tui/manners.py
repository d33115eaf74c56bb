"""The screen makes way for whoever drives the robot: both are threads of one program, and one of them is on time."""

import gc
import sys

SWITCH = 0.0005
"""Seconds after which a thread that computes makes way for one that waits; a tick waits for this a few times."""

YOUNG, MIDDLE, OLD = 3_000, 5, 1_000_000
"""How often garbage of each age is looked for (`gc.set_threshold`): hardly ever among what is old. Each time nothing
else goes on, for 0.16 to 0.25 s where that was measured; what the screen throws away is young."""

SWEEP = 60.0
"""Seconds between two looks for old garbage, while nothing moves."""


def make_way() -> None:
    """From now on, nothing that this program draws or throws away holds up its other threads for long."""
    sys.setswitchinterval(SWITCH)
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def sweep() -> None:
    """Throw away what is old, too, and look no more at what is left. It takes tenths of a second."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
