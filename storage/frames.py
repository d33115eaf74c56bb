"""The pictures of one camera, unpacked when they are asked for, however they are kept."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from storage import arrays
from storage.images import Image, Picture, bring, decoder


class Source(Protocol):
    """Pictures as they lie on the disk, by their place in the take. It keeps no file open."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, height, width, and 3 when they have colour."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def codec(self) -> str: ...

    @property
    def clip(self) -> Path | None: ...

    def stored(self, places: Sequence[int]) -> Iterator[bytes]: ...

    def decoded(self, places: Sequence[int], least: int = 0) -> Iterator[Picture]:
        """Yield these pictures; with ``least``, they may be smaller, but have as many rows and columns, if they can."""
        ...


class Frames:
    """The pictures of one camera: ``frames[3]`` is one, ``frames[[3, 5]]`` and ``frames[3:9]`` are several, stacked.

    No file is kept open, so thousands of episodes can be in use at once.
    """

    def __init__(self, source: Source, kept: range | None = None) -> None:
        self._source = source
        self._kept = range(source.shape[0]) if kept is None else kept

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures, height, width, and 3 when they have colour."""
        return (len(self._kept), *self._source.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Bytes for colour, <u2 for millimetres."""
        return self._source.dtype

    @property
    def codec(self) -> str:
        """How they are kept, e.g. "imagecodecs_jpeg", "bytes" or "h264"."""
        return self._source.codec

    @property
    def clip(self) -> Path | None:
        """The film that holds all pictures of the take, when they are kept as one."""
        return self._source.clip

    def stored(self, frames: Iterable[int]) -> Iterator[bytes]:
        """Pictures as they are kept, e.g. as JPEG.

        Raises:
            OSError: the file ends too early.
            ValueError: they are kept as a film, where a picture cannot be had without those before it.
        """
        return self._source.stored([self._kept[frame] for frame in frames])

    def small(self, frames: Sequence[int] | NDArray[Any], size: int) -> Image:
        """Colour pictures brought to ``size`` by ``size``, whatever their shape was: (n, size, size, 3).

        JPEG is unpacked at a fraction of its size where that suffices, which is faster.

        Raises:
            ValueError: these pictures have no colour.
        """
        if len(self.shape) != 4:
            raise ValueError(
                f"these pictures are {self.shape[1:]} of {self.dtype}; only colour can be brought to a size"
            )
        wanted = np.arange(len(self))[frames].reshape(-1)
        images = np.empty((wanted.size, size, size, 3), np.uint8)
        self.into(wanted.tolist(), list(images))
        return images

    def into(self, frames: Sequence[int], images: Sequence[Picture]) -> None:
        """Write pictures over ``images``, each at the size its place has, which is the same for all of them."""
        if images:
            least = 0 if images[0].shape == self.shape[1:] else max(images[0].shape[:2])
            decoded = self._source.decoded([self._kept[frame] for frame in frames], least)
            for image, picture in zip(images, decoded, strict=True):
                bring(picture, image)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, i: int) -> Picture: ...
    @overload
    def __getitem__(self, i: slice | Sequence[int] | NDArray[Any]) -> Picture: ...
    def __getitem__(self, i: int | slice | Sequence[int] | NDArray[Any]) -> Picture:
        wanted = np.arange(len(self))[i]
        pictures = np.empty((wanted.size, *self.shape[1:]), self.dtype)
        places = [self._kept[frame] for frame in wanted.reshape(-1).tolist()]
        for picture, decoded in zip(pictures, self._source.decoded(places), strict=True):
            picture[...] = decoded
        return pictures if wanted.ndim else pictures[0]

    def __iter__(self) -> Iterator[Picture]:
        return self._source.decoded(list(self._kept))


class Shard:
    """Pictures packed one by one into one file, which ends with an index: a zarr shard."""

    clip = None

    def __init__(self, folder: Path, known: arrays.About | None = None) -> None:
        self._about = about = arrays.read_about(folder) if known is None else known
        self.shape = about.shape
        self.dtype = np.dtype(about.kind)
        self._path = folder / arrays.shard(len(self.shape))
        self._decode = decoder(about.inner, self.shape[1:], self.dtype)
        footer = 16 * max(1, self.shape[0])
        with self._path.open("rb", buffering=0) as file:
            file.seek(-footer - 4, os.SEEK_END)
            self._index = np.frombuffer(file.read(footer), "<u8").reshape(-1, 2)

    @property
    def codec(self) -> str:
        name: str = self._about.inner[0]["name"]
        return name

    def stored(self, places: Sequence[int]) -> Iterator[bytes]:
        file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for place in places:
                offset, size = self._index[place].tolist()
                found = os.pread(file, size, offset)
                if len(found) != size:
                    raise OSError(f"{self._path} ends within frame {place}")
                yield found
        finally:
            os.close(file)

    def decoded(self, places: Sequence[int], least: int = 0) -> Iterator[Picture]:
        return (self._decode(stored, least) for stored in self.stored(places))
