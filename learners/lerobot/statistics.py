"""What LeRobot's processors scale by, measured of our windows as LeRobot measures its datasets."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from learners.data import Windows
from learners.policy import LEAST

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
STATE, ACTION, TASK, PADDED = "observation.state", "action", "task", "action_is_pad"


def picture(camera: str) -> str:
    """What LeRobot calls a camera's pictures."""
    return f"observation.images.{camera}"


def statistics(data: Windows, cameras: tuple[str, ...], pictures: int = 256) -> dict[str, dict[str, Any]]:
    """Numbers of states, steps of plans and colours (0..1), as JSON has them.

    Steps past an episode's end do not count. Spreads below `learners.policy.LEAST` are noise, here as in our methods.
    """
    some = data.sample()
    plan = data.plan[some]
    real = np.arange(plan.shape[1]) < data.left[some][:, None]
    found = {STATE: _of(data.state[some][:, -1], LEAST["state"]), ACTION: _of(plan[real], LEAST["plan"])}
    parts = np.array_split(data.sample(pictures), max(1, min(pictures, len(data)) // 64))
    seen = torch.cat([data.batch(part).images for part in parts])
    for number, camera in enumerate(cameras):
        colours = seen[:, number].movedim(1, -1).reshape(-1, 3).numpy().astype("f8") / 255
        measured = _of(colours, 1 / 255)
        count = measured.pop("count")
        found[picture(camera)] = {name: [[[each]] for each in value] for name, value in measured.items()}
        found[picture(camera)]["count"] = count
    return found


def tensors(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Tensor]]:
    """The same as LeRobot's factories want it."""
    return {key: {name: torch.tensor(value) for name, value in each.items()} for key, each in found.items()}


def _of(values: NDArray[Any], least: float) -> dict[str, Any]:
    """Of rows (N, d); a range is at least as wide as two of the least spreads, about its middle."""
    low, high = values.min(0), values.max(0)
    short = np.maximum(0, 2 * least - (high - low)) / 2
    measured = {
        "min": low - short,
        "max": high + short,
        "mean": values.mean(0),
        "std": np.maximum(values.std(0), least),
        **{name: np.quantile(values, part, axis=0) for name, part in QUANTILES.items()},
    }
    said = {name: np.asarray(value, "f4").tolist() for name, value in measured.items()}
    return said | {"count": [len(values)]}
