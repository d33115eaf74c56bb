"""One feature's values as an array of ours, and as a column of a parquet file."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How LeRobot keeps a picture in a table."""


def column(values: NDArray[Any], about: Mapping[str, Any]) -> Any:
    """A column of what info.json promises: scalars for shape [1], lists for more, text, or packed pictures."""
    if about["dtype"] == "string":
        return pa.array(values.tolist(), pa.string())
    if about["dtype"] == "image":
        return pa.array([{"bytes": packed, "path": None} for packed in values], IMAGE)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim == 1:
        return flat
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    for length in reversed(values.shape[1:]):
        offsets = np.arange(0, len(flat) + 1, length, dtype=np.int32)
        flat = pa.ListArray.from_arrays(offsets, flat)
    return flat


def numbers(column: Any, about: Mapping[str, Any], rows: int) -> NDArray[Any]:
    """What `column` made of an array: (n,) for shape [1], (n, *shape) for more.

    Raises:
        ValueError: there are not as many numbers as info.json promises, or some are missing.
    """
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ExtensionArray):
        flat = flat.storage
    while pa.types.is_nested(flat.type):
        flat = flat.flatten()
    shape = () if list(about["shape"]) == [1] else tuple(about["shape"])
    if flat.null_count or len(flat) != rows * int(np.prod(shape, dtype=int)):
        raise ValueError(
            f"it holds {len(flat) - flat.null_count} numbers for {rows} rows of shape {tuple(about['shape'])}"
        )
    values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
    return values.astype(about["dtype"], casting="same_kind" if values.dtype != object else "unsafe").reshape(
        rows, *shape
    )
