"""Zarr v3 on disk, read and written directly: opening a folder of small arrays takes no time, and nothing but JSON."""

import json
import os
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google_crc32c import value as crc32c

# By name, and here: whatever loads later, such as a graphics driver, brings a zstd of its own, which packs differently.
from imagecodecs import blosc_decode, blosc_encode
from numpy.typing import NDArray

CHUNK = 32 << 20
"""The most bytes in one piece of an array, before compression."""

KINDS = "biufc"
"""What a field may hold: truth values, whole, real and complex numbers."""


def write_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Write a folder's own description."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def consolidated(folder: Path) -> dict[str, Any]:
    """The descriptions of everything in a folder, for its own: whoever reads that needs no other.

    Only for what will not change any more.
    """
    nothing = {"kind": "inline", "must_understand": False, "metadata": {}}
    found = {path.parent: json.loads(path.read_bytes()) for path in sorted(folder.rglob("zarr.json"))}
    metadata = {
        place.relative_to(folder).as_posix(): node
        | ({"consolidated_metadata": nothing} if node["node_type"] == "group" else {})
        for place, node in found.items()
        if place != folder
    }
    return nothing | {"metadata": metadata}


def write_array(folder: Path, values: NDArray[Any]) -> None:
    """Write one array, compressed without loss. The same values always make the same bytes."""
    folder.mkdir(exist_ok=True)
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    row = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=int)))
    step = max(1, min(len(values), CHUNK // row))
    shuffle = "shuffle" if values.dtype.itemsize > 1 else "noshuffle"
    blosc = {"cname": "zstd", "clevel": 3, "shuffle": shuffle, "typesize": values.dtype.itemsize, "blocksize": 0}
    codecs: list[dict[str, Any]] = [{"name": "bytes"}, {"name": "blosc", "configuration": blosc}]
    if values.dtype.itemsize > 1:
        codecs[0]["configuration"] = {"endian": "little"}
    for place, first in enumerate(range(0, len(values), step)):
        chunk = np.zeros((step, *values.shape[1:]), values.dtype)
        chunk[: len(values) - first] = values[first : first + step]
        packed = blosc_encode(
            chunk.tobytes(), level=3, compressor="zstd", shuffle=shuffle, typesize=values.dtype.itemsize, numthreads=1
        )
        (folder / _chunk(place, values.ndim)).write_bytes(packed)
    write_json(
        folder / "zarr.json", _description(values.shape, values.dtype.name, (step, *values.shape[1:]), ".", codecs)
    )


class About(NamedTuple):
    """What reading an array takes of its zarr.json. It is little, because thousands of open episodes keep many."""

    shape: tuple[int, ...]
    kind: str
    step: int
    """Rows in one chunk."""
    chain: tuple[str, ...]
    """Names of its codecs."""
    inner: list[dict[str, Any]]
    """The codecs of one picture, when many are one shard."""


def about(node: dict[str, Any]) -> About:
    """What is needed of an array's description."""
    inner = [codec["configuration"]["codecs"] for codec in node["codecs"] if codec["name"] == "sharding_indexed"]
    return About(
        tuple(node["shape"]),
        node["data_type"],
        node["chunk_grid"]["configuration"]["chunk_shape"][0],
        tuple(codec["name"] for codec in node["codecs"]),
        inner[0] if inner else [],
    )


def read_about(folder: Path) -> About:
    """The same from the array's own folder."""
    return about(json.loads((folder / "zarr.json").read_bytes()))


def read_array(folder: Path, known: About | None = None) -> NDArray[Any]:
    """Read one array that `write_array` wrote; what is ``known`` about it need not be read from its folder.

    Raises:
        ValueError: something else wrote it.
    """
    found = read_about(folder) if known is None else known
    if found.chain != ("bytes", "blosc"):
        raise ValueError(f"{folder} is not one of our arrays; zarr can read it")
    shape, kind, step = found.shape, np.dtype(found.kind).newbyteorder("<"), found.step
    parts = [
        np.frombuffer(blosc_decode((folder / _chunk(place, len(shape))).read_bytes(), numthreads=1), kind)
        for place in range(-(-shape[0] // step))
    ]
    values = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, kind), *parts])
    return values.reshape(-1, *shape[1:])[: shape[0]] if shape[0] else np.zeros(shape, kind)


def shard_index(places: Iterable[tuple[int, int]]) -> bytes:
    """The footer that makes a file of pieces, at (offset, size), a zarr shard."""
    index = np.array(list(places), "<u8").tobytes()
    return index + struct.pack("<I", crc32c(index))


def shard(dimensions: int) -> Path:
    """Where in its folder an array of so many dimensions is, when it is one shard."""
    return Path("c", *["0"] * dimensions)


def shard_description(shape: tuple[int, ...], kind: str, codecs: list[dict[str, Any]]) -> dict[str, Any]:
    """Describe pictures kept one by one in a single shard: ``shape`` is theirs, after their number."""
    inner = {
        "chunk_shape": [1, *shape[1:]],
        "codecs": codecs,
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    sharding = [{"name": "sharding_indexed", "configuration": inner}]
    return _description(shape, kind, (max(1, shape[0]), *shape[1:]), "/", sharding)


def _chunk(place: int, dimensions: int) -> str:
    return ".".join(["c", str(place), *["0"] * (dimensions - 1)])


def _description(
    shape: tuple[int, ...], kind: str, chunk: tuple[int, ...], separator: str, codecs: list[dict[str, Any]]
) -> dict[str, Any]:
    nothing: Any = False if kind == "bool" else [0, 0] if kind.startswith("complex") else 0
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": kind,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": nothing,
        "codecs": codecs,
        "attributes": {},
        "storage_transformers": [],
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON that people can read too: a line for each thing; more take ten times longer."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items())
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def replace_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that, whatever happens, it is the old one or the new one."""
    new = path.with_name(path.name + ".new")
    write_json(new, content)
    sync(new)
    new.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has this file, or the names in this folder."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_tree(folder: Path) -> None:
    """Wait until the disk has everything in a folder. Together, the files wait less than one by one."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(sync, sorted(folder.rglob("*"))))
    sync(folder)
