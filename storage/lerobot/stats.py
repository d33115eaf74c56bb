"""What LeRobot wants to know of every feature: mean, spread, extremes and quantiles, per episode and over all."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

SIDE = 150
"""Pictures are looked at about this small."""

Stats = dict[str, NDArray[Any]]


def of_numbers(values: NDArray[Any]) -> Stats:
    """Statistics of one feature's values (n, ...): of each number in its last dimension. Those missing do not count."""
    rows = values.astype("f8").reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
    return _of(rows) | {"count": np.array([len(values)])}


def of_pictures(pictures: Iterable[NDArray[Any]], scale: float) -> Stats:
    """Statistics of pictures (height, width[, channels]) per channel: (channels, 1, 1), in units of ``scale``.

    Only how often each value occurs is kept, however many pictures there are.
    """
    often: NDArray[np.int64] | None = None
    number = 0
    for picture in pictures:
        step = max(1, max(picture.shape[:2]) // SIDE) if max(picture.shape[:2]) >= 2 * SIDE else 1
        seen = picture[::step, ::step].reshape(-1, 1 if picture.ndim == 2 else picture.shape[2])
        values = np.iinfo(picture.dtype).max + 1
        counted = np.stack([np.bincount(channel, minlength=values) for channel in seen.T])
        often = counted if often is None else often + counted
        number += 1
    if often is None:
        raise ValueError("there are no pictures to tell anything of")
    of = [_of_counts(channel, scale) for channel in often]
    return {name: np.array([one[name] for one in of]).reshape(-1, 1, 1) for name in of[0]} | {
        "count": np.array([number])
    }


def sample(frames: int) -> NDArray[np.intp]:
    """Which of so many frames are enough to know them all."""
    return np.unique(np.linspace(0, frames - 1, min(frames, max(100, int(frames**0.75)))).round().astype(np.intp))


def together(episodes: list[Stats]) -> Stats:
    """Statistics of several episodes as one. Quantiles are averaged, as LeRobot does it."""
    count = np.concatenate([stats["count"] for stats in episodes]).astype("f8")

    def mean(name: str) -> NDArray[Any]:
        weighted: NDArray[Any] = np.average([stats[name] for stats in episodes], axis=0, weights=count)
        return weighted

    whole = mean("mean")
    spread = [stats["std"] ** 2 + (stats["mean"] - whole) ** 2 for stats in episodes]
    return {
        "min": np.min([stats["min"] for stats in episodes], axis=0),
        "max": np.max([stats["max"] for stats in episodes], axis=0),
        "mean": whole,
        "std": np.sqrt(np.average(spread, axis=0, weights=count)),
        **{name: mean(name) for name in QUANTILES},
        "count": np.array([int(count.sum())]),
    }


def as_json(stats: Mapping[str, Stats]) -> dict[str, Any]:
    """The same as lists of numbers."""
    return {feature: {name: value.tolist() for name, value in of.items()} for feature, of in stats.items()}


def _of_counts(often: NDArray[np.int64], scale: float) -> dict[str, float]:
    """Of whole numbers from 0 on, by how often each occurs: what `_of` says of them all."""
    values, total = np.arange(len(often)) / scale, int(often.sum())
    up_to, there = np.cumsum(often), np.flatnonzero(often)
    mean = float(often @ values) / total
    return {
        "min": values[there[0]],
        "max": values[there[-1]],
        "mean": mean,
        "std": float(np.sqrt(often @ (values - mean) ** 2 / total)),
        **{name: values[np.searchsorted(up_to, max(1, np.ceil(q * total)))] for name, q in QUANTILES.items()},
    }


def _of(rows: NDArray[np.float64]) -> Stats:
    """Of every column of (n, d). A column of which nothing is known is 0 throughout: JSON knows no NaN."""
    known = rows if np.isfinite(rows).all() else np.where(np.isfinite(rows).any(axis=0), rows, 0.0)
    finite = np.where(np.isfinite(known), known, np.nan)
    quantiles = np.nanquantile(finite, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": np.nanmin(finite, axis=0),
        "max": np.nanmax(finite, axis=0),
        "mean": np.nanmean(finite, axis=0),
        "std": np.nanstd(finite, axis=0),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }
