"""What every suite is as a cell: one robot, its cameras, and the truth."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from drivers.clock import StepClock
from drivers.device import Device, Robot
from drivers.gymnasium.world import TRUTH, Suite, World
from drivers.twin.parts import Mover, Part, Whole


class Truth(Part):
    """How far the task has come, by the suite's own count, and where things are, as far as the suite tells."""

    def __init__(self, world: World) -> None:
        super().__init__(world, TRUTH)
        self._suite = world

    @property
    def described(self) -> dict[str, Any]:
        """Which suite this is, and what it calls its task."""
        return self._suite.described


@dataclass(kw_only=True)
class Gym(Whole):
    """A cell that is one environment. Time is a ``StepClock``: the same seed and commands give the same rows."""

    image: tuple[int, int] = (96, 128)
    """Height and width of the pictures, in pixels."""

    camera_hz: float = 50.0
    """How often pictures are taken; the suite's own way is one for every step."""

    steps: int = 400
    """After this many steps it is over."""

    def __post_init__(self) -> None:
        if self.camera_hz <= 0 or self.steps < 1 or min(self.image) < 1:
            raise ValueError(
                f"image {self.image}, camera_hz {self.camera_hz} and steps {self.steps} have to be more than 0"
            )

    @property
    @abstractmethod
    def suite(self) -> Suite:
        """What is said and taken here."""

    @property
    def lasts(self) -> float:
        """Seconds until it is over."""
        return (self.steps + 2) / self.suite.hz

    @cached_property
    def clock(self) -> StepClock:
        return StepClock()

    @cached_property
    def world(self) -> World:
        return World(self.suite, self.clock, self.image, self.steps, self.camera_hz)

    @cached_property
    def robot(self) -> Robot:
        return Mover(self.world, self.world.action, self.suite.kinematics)

    @cached_property
    def watching(self) -> Sequence[Device]:
        return (*(Part(self.world, camera) for camera in self.suite.cameras), Truth(self.world))

    def arrange(self, condition: Mapping[str, Any]) -> None:
        """Begin again, from the start that the suite draws from ``{"seed": 7}``.

        Raises:
            WrongCondition: the condition asks for something else.
            DeviceLost: the cell has not been entered.
        """
        self.world.arrange(condition)

    def fail(self, name: str) -> None:
        """Let one device fall silent, as if its cable were pulled, until ``mend``."""
        self.world.fail(name)

    def mend(self) -> None:
        """Plug every cable in again."""
        self.world.mend()
