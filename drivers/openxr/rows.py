"""What a headset says of the head and the two hands."""

from typing import cast

import numpy as np

from drivers.device import Row, sensed

HANDS = sensed(
    ("grip", "<f8", (2, 7)),
    ("aim", "<f8", (2, 7)),
    ("head", "<f8", (7,)),
    ("tracked", "u1", (2,)),
    ("valid", "u1", (2,)),
    ("active", "u1", (2,)),
    ("trigger", "<f4", (2,)),
    ("squeeze", "<f4", (2,)),
    ("stick", "<f4", (2, 2)),
    ("buttons", "u1", (2,)),
    ("focused", "u1"),
    ("space", "<i8"),
    ("age", "<i8"),
)
"""Left before right. A pose is x y z qx qy qz qw in metres in OpenXR's LOCAL space: right-handed, +Y up, -Z forward
from where the head was at the start or at the last recenter. ``t`` is the moment the poses are for, ``age`` how long
before the row was ready that was, ``UNKNOWN`` where the runtime tells no time of this machine.

``active`` says that a controller is on; ``valid`` that its grip pose may be used; ``tracked`` that the pose was
measured and not only guessed. What is not known is NaN, never an old value: a pose that is not valid, a trigger (0 to
1), squeeze (0 to 1) or stick (-1 to 1, right and forward) of a controller that is off or has none. ``focused`` says
that the person's input is ours; ``space`` counts how often LOCAL has moved, so poses of different numbers cannot be
compared."""

LOWER, UPPER, STICK, MENU = 1, 2, 4, 8
"""The bits of ``buttons``: X or A, Y or B, the stick pressed in, and the menu button, which only the left hand has."""

UNKNOWN = int(np.iinfo(np.int64).min)


def unseen() -> Row:
    """Return a row that says nothing: no poses, no controllers, no focus."""
    rows = np.zeros(1, HANDS)
    for field in ("grip", "aim", "head", "trigger", "squeeze", "stick"):
        rows[field] = np.nan
    return cast("Row", rows[0])
