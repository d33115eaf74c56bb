"""Demonstrations that nobody gave: a hand does a task in the twin, and a head-mounted camera sees it.

`setting` draws what it looks like, `anatomy` and `grasp` make a hand, `motion` says how it moves, `stage` builds the
scene. Nothing is simulated: hands and things are put where the motion has them. The same seed shows the same.
"""

from drivers.twin.human.imagination import Imagination, Imagined

__all__ = ["Imagination", "Imagined"]
