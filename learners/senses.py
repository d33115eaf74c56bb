"""What a policy looks at, live and in the record.

The live policy and the dataset ask the same functions: they work on the rows of a running cell and on those of a
sealed episode alike, through `storage.latest`: a row is known from its arrival on, so training sees exactly what
the agent sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.body import Body, by_arm, openings, side_by_side
from learners.transforms import Floats, axes
from storage import Observation, Stale, latest
from storage.images import Image, bring
from storage.layout import RGB, arrival

ROBOT = "arm"
STAMPS = ("t", "received")
"""When a row was measured, and when this machine had it."""
FELT = ("q", "tool", "width")
"""Fields of the robot's rows that a state is read from."""


@dataclass(frozen=True)
class Senses:
    """What a policy looks at: newest frames of some cameras and the robot's last few states."""

    cameras: tuple[str, ...]
    image: int | None
    """Height and width the frames are brought to, in pixels; None leaves them as they are."""
    history: int
    """How many past states; the newest comes last."""
    spacing: float
    """Seconds between them."""
    max_age: float = 0.25
    """A frame or state older than this, in seconds, is no answer."""
    ahead: float | None = None
    """Seconds until the frame that training shows beside each; None shows none. A live policy never sees it."""

    @property
    def memory(self) -> float:
        """Seconds that it looks back."""
        return (self.history - 1) * self.spacing

    def body(self, robot: NDArray[np.void], at: NDArray[np.int64]) -> tuple[NDArray[np.float32], dict[str, Floats]]:
        """States (N, history, `Body.width`) before each moment, and the tools' poses (N, 7 * arms) at it.

        Raises:
            Stale: the robot was silent for longer than ``max_age``.
        """
        rows = robot[self.past(robot, at)]
        return felt(rows), {"tool": rows["tool"][:, -1].astype("f8")}

    def past(self, robot: NDArray[np.void], at: NDArray[np.int64]) -> NDArray[np.intp]:
        """Index of the robot's row that had arrived at each moment and at those before it: (N, history).

        Moments before the first row's arrival repeat that row: an episode begins at rest.

        Raises:
            Stale: the robot was silent for longer than ``max_age``.
        """
        back = np.arange(self.history - 1, -1, -1) * round(self.spacing * 1e9)
        moments = np.maximum(at[:, None] - back, arrival(robot)[0])
        age = round(self.max_age * 1e9)
        return latest(arrival(robot), moments.ravel(), age, robot["t"]).reshape(moments.shape)

    def eyes(self, rows: Mapping[str, NDArray[np.void]], at: NDArray[np.int64]) -> NDArray[np.intp]:
        """Index of the newest frame of each camera that had arrived at each moment: (N, cameras).

        Raises:
            Stale: a camera was silent for longer than ``max_age``.
        """
        age = round(self.max_age * 1e9)
        index = [latest(arrival(rows[camera]), at, age, rows[camera]["t"]) for camera in self.cameras]
        return np.array(index, dtype=np.intp).reshape(len(index), len(at)).T

    def fit(self, frames: Sequence[Image]) -> Image:
        """Frames (H, W, 3) at the size that is looked at: (N, image, image, 3).

        `storage.Pictures` does the same to those of an episode, and pixels that were kept exactly come out the same
        to the bit. Of a JPEG that has to shrink, only the frequencies that the smaller picture can show are unpacked:
        faster, and the mean pixel is then off by 1 to 2.3 of 255 from what is seen live (640 x 480 brought to 224 or
        96), less than JPEG itself loses at full size (2.0 to 2.7).
        """
        shape = frames[0].shape if self.image is None else (self.image, self.image, 3)
        images = np.empty((len(frames), *shape), np.uint8)
        for image, frame in zip(images, frames, strict=True):
            bring(frame, image)
        return images

    def live(self, seen: Observation) -> tuple[Tensor, NDArray[np.float32], dict[str, Floats]]:
        """The same for one live moment: images (1, cameras, 3, image, image), state (1, ...), poses (1, 7 * arms).

        Raises:
            Stale: a device was silent for too long, or less is shown than a policy looks back on.
        """
        self._suffice(seen)
        at = np.array([seen.t])
        state, now = self.body(seen.streams[ROBOT], at)
        index = self.eyes(seen.streams, at)[0]
        frames = [seen.streams[camera]["rgb"][i] for camera, i in zip(self.cameras, index, strict=True)]
        return planes(self.fit(frames)[None] if frames else np.empty((1, 0, 0, 0, 3), np.uint8)), state, now

    def glimpse(self, seen: Observation) -> Observation:
        """The little of a live moment that is looked at, as a copy: `live` makes the same of it, to the bit.

        Of the robot the rows that a state is read from and the newest one; of each camera its newest frame, at the
        size that is looked at. A row's moments are its own, so that each is found again where it was.

        Raises:
            Stale: as `live`.
        """
        self._suffice(seen)
        at = np.array([seen.t])
        robot = seen.streams[ROBOT]
        felt_rows = robot[np.unique(np.append(self.past(robot, at)[0], len(robot) - 1))]
        rows = {ROBOT: felt_rows}
        for camera, index in zip(self.cameras, self.eyes(seen.streams, at)[0], strict=True):
            there = seen.streams[camera][index : index + 1]
            picture = self.fit([there[RGB][0]])
            rows[camera] = np.zeros(1, [*((name, "<i8") for name in STAMPS), (RGB, "u1", picture.shape[1:])])
            rows[camera]["t"], rows[camera]["received"] = there["t"], arrival(there)
            rows[camera][RGB] = picture
        return Observation(seen.t, rows, seen.since)

    def _suffice(self, seen: Observation) -> None:
        """Make sure that as much is shown as is looked back on.

        Raises:
            Stale: it is not.
        """
        if seen.t - round(self.memory * 1e9) < seen.since:
            shown = (seen.t - seen.since) / 1e9
            raise Stale(f"a policy that looks back {self.memory:g} s is shown {shown:g} s; use Loop.remembering")


def felt(rows: NDArray[np.void]) -> NDArray[np.float32]:
    """What the robot's rows say, as states (..., `Body.width`): of each arm joints, tool position, tool axes, opening.

    Raises:
        ValueError: they are no robot's rows.
    """
    arms = Body.of(rows.dtype).arms
    tool = by_arm(rows["tool"], arms)
    parts = [by_arm(rows["q"], arms), tool[..., :3], axes(tool[..., 3:]), openings(rows["width"], arms)]
    return side_by_side(np.concatenate(parts, axis=-1).astype("f4"))


def planes(images: Image) -> Tensor:
    """Pictures (B, V, H, W, 3) as a tensor (B, V, 3, H, W).

    It is a view: the colours of a pixel stay side by side, which saves a copy and is what convolutions like.
    """
    return torch.from_numpy(images).permute(0, 1, 4, 2, 3)
