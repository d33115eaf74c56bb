"""What several machines share: sealed folders in a bucket, or on a disk that all of them mount. Nothing is deleted.

A folder is there once its list is: the names, sizes and hashes of its files, written last. Files are never written
again, so that whoever was cut short goes on where it was.
"""

import json
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np
import obstore
from numpy.typing import NDArray
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from storage.arrays import sync_tree

LISTS = "whole"
"""Where in the store the lists of folders are."""
BLOCK = 1 << 22
AT_ONCE = 8
"""Files that are on their way at a time."""
CLIENT: Any = {"connect_timeout": "5s", "timeout": "120s"}
RETRIES: Any = {"max_retries": 3}
CHECKED: Any = {"checksum_algorithm": "SHA256"}
"""The server compares what arrives with what was sent."""


class StoreFailed(OSError):
    """The store cannot be reached, or refuses. The message says which and why."""


class NotShared(FileNotFoundError):
    """The store does not have what was asked for."""


class Store:
    """A mounted folder, or a URL such as ``s3://bucket/prefix``; the usual ``AWS_*`` variables say where and who asks.

    Raises:
        StoreFailed: it is no such URL, or the folder cannot be made.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        with _told(self.where):
            if "://" in where:
                endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
                client = CLIENT | {"allow_http": endpoint.startswith("http://")}
                more = {"config": CHECKED} if where.startswith("s3") else {}
                self._store: Any = from_url(where, client_options=client, retry_config=RETRIES, **more)
            else:
                self._store = LocalStore(Path(where).expanduser().absolute(), mkdir=True)

    def has(self, path: str) -> bool:
        """Whether all of a folder is there."""
        with _told(self.where):
            try:
                obstore.head(self._store, _list_of(path))
            except FileNotFoundError:
                return False
            return True

    def paths(self) -> set[str]:
        """Every folder that is there."""
        with _told(self.where):
            found = (one["path"] for some in obstore.list(self._store, LISTS) for one in some)
            return {name.removeprefix(f"{LISTS}/").removesuffix(".json") for name in found}

    def push(self, folder: Path, path: str, digest: str) -> int:
        """Copy a folder into the store under a path. Files that are there already, whole, stay. Returns its bytes.

        Raises:
            StoreFailed: it cannot be reached, or has something else under that path.
        """
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        with _told(self.where), ThreadPoolExecutor(AT_ONCE) as pool:
            there = {one["path"]: one["size"] for some in obstore.list(self._store, path) for one in some}
            sums = dict(zip(names, pool.map(lambda name: self._put(folder, path, name, there), names), strict=True))
            self._write(path, {"digest": digest, "files": sums})
        return sum(size for size, _ in sums.values())

    def fetch(self, path: str, part: Path) -> int:
        """Copy a folder from the store into ``part``, where what an earlier attempt left stays. Returns its bytes.

        Raises:
            NotShared: the store does not have it.
            StoreFailed: it cannot be reached, or holds something else than its list says.
        """
        listed = self.listed(path)["files"]
        for strange in {each for each in part.rglob("*") if each.is_file()} - {part / name for name in listed}:
            strange.unlink()
        with _told(self.where), ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda name: self._get(path, part, name, *listed[name]), listed))
        sync_tree(part)
        return sum(size for size, _ in listed.values())

    def listed(self, path: str) -> dict[str, Any]:
        """What a folder in the store consists of.

        Raises:
            NotShared: the store does not have it.
            StoreFailed: it cannot be reached.
        """
        if not self.has(path):
            raise NotShared(f"{self.where} does not have {path}")
        with _told(self.where):
            found = bytes(obstore.get(self._store, _list_of(path)).bytes())
        return cast("dict[str, Any]", json.loads(found))

    def episode(self, path: str) -> "Far":
        """An episode that is read where it is.

        Raises:
            NotShared: the store does not have it.
            StoreFailed: it cannot be reached.
        """
        self.listed(path)
        return Far(self._store, self.where, path)

    def _put(self, folder: Path, path: str, name: str, there: dict[str, int]) -> list[Any]:
        """Put a file there unless it is, and return its size and hash."""
        size, found = _hashed(folder / name)
        place = f"{path}/{name}"
        if there.get(place) != size:
            obstore.put(self._store, place, folder / name)
        return [size, found]

    def _get(self, path: str, part: Path, name: str, size: int, expected: str) -> None:
        file = part / name
        if not file.resolve().is_relative_to(part.resolve()):
            raise StoreFailed(f"{self.where}: the list of {path} names {name}, which lies elsewhere")
        if file.exists() and file.stat().st_size == size and _hashed(file)[1] == expected:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            for block in obstore.get(self._store, f"{path}/{name}").stream(min_chunk_size=BLOCK):
                out.write(block)
        if (found := _hashed(file)) != (size, expected):
            file.unlink()
            raise StoreFailed(f"{self.where}: {path}/{name} has {found[0]} bytes and is not what was pushed there")

    def _write(self, path: str, listed: dict[str, Any]) -> None:
        """Write a folder's list, unless it is there.

        Raises:
            StoreFailed: something else is.
        """
        content = json.dumps(listed, sort_keys=True).encode()
        try:
            there = bytes(obstore.get(self._store, _list_of(path)).bytes())
        except FileNotFoundError:
            obstore.put(self._store, _list_of(path), content)
            return
        if json.loads(there)["digest"] != listed["digest"]:
            raise StoreFailed(
                f"{self.where} has another {path}, and nothing there is written over; which one is right?"
            )


class Far:
    """An episode in a store, of which only what is asked for is read: ``far["arm", "q"]``."""

    def __init__(self, store: Any, where: str, path: str) -> None:
        self._store, self._where, self._path = store, where, path

    @property
    def attributes(self) -> dict[str, Any]:
        """What is true of the whole take."""
        return {name: value for name, value in dict(self._group.attrs).items() if name != "episode"}

    @property
    def rows(self) -> dict[str, int]:
        """How many each device gave."""
        about: Any = self._group.attrs["episode"]
        return dict(about["rows"])

    def __getitem__(self, key: tuple[str, str]) -> NDArray[Any]:
        """One field of one device, for all its rows.

        Raises:
            KeyError: it was not recorded.
        """
        import imagecodecs.zarr

        imagecodecs.zarr.register_codecs(verbose=False)  # zarr does not know by itself what unpacks pictures
        with _told(self._where):
            return np.asarray(self._group["/".join(key)][...])

    @cached_property
    def _group(self) -> Any:
        import zarr
        from zarr.storage import ObjectStore

        with _told(self._where):
            # Of an array that is asked for its own description is read, and of the others none.
            store = ObjectStore(self._store, read_only=True)
            return zarr.open_group(store, path=self._path, mode="r", use_consolidated=False)


@contextmanager
def _told(where: str) -> Generator[None]:
    """Say which store it was, and only what matters."""
    try:
        yield
    except BaseError as error:
        raise StoreFailed(f"the store {where} cannot be used: {str(error).splitlines()[0]}") from error
    except FileNotFoundError as error:
        raise StoreFailed(f"the store {where}: a file went away meanwhile: {str(error).splitlines()[0]}") from error


def _list_of(path: str) -> str:
    return f"{LISTS}/{path}.json"


def _hashed(file: Path) -> tuple[int, str]:
    size, found = 0, blake2b(digest_size=16)
    with file.open("rb", buffering=0) as content:
        while block := content.read(BLOCK):
            size += len(block)
            found.update(block)
    return size, found.hexdigest()
