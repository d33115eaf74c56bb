"""How a camera's pictures are kept: small and nearly the same, or exactly the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types

# By name, see arrays.py.
from imagecodecs import blosc_decode, blosc_encode, zstd_decode, zstd_encode
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Height, width, and red, green, blue; 0 to 255."""

Picture = NDArray[Any]
"""An image in colour, or depth: height, width, in whole millimetres."""


class ImageCodec(Protocol):
    """A way to turn one image into bytes. What zarr calls it is kept with the frames, and decides how they are read."""

    @property
    def codecs(self) -> list[dict[str, Any]]:
        """The zarr v3 codec chain that turns the bytes back into the image."""
        ...

    def encode(self, image: Image, /) -> bytes: ...


class PictureCodec(Protocol):
    """The same for any picture."""

    @property
    def codecs(self) -> list[dict[str, Any]]: ...

    def encode(self, picture: Any, /) -> bytes: ...


@dataclass(frozen=True)
class Jpeg:
    """Small, fast, and not exact: for real cameras, whose noise is not worth keeping."""

    quality: int = 90
    subsampling: str = "420"
    """``444`` keeps colour at full resolution, ``420`` at half."""

    @property
    def codecs(self) -> list[dict[str, Any]]:
        settings = {"level": self.quality, "subsampling": self.subsampling}
        return [{"name": "imagecodecs_jpeg", "configuration": settings}]

    def encode(self, image: Image) -> bytes:
        encoded: bytes = simplejpeg.encode_jpeg(
            np.ascontiguousarray(image), quality=self.quality, colorsubsampling=self.subsampling, fastdct=False
        )
        return encoded


@dataclass(frozen=True)
class Lossless:
    """Every pixel exactly: for rendered images, which are mostly flat and have no noise.

    Zstandard is in every zarr reader and unpacks twice as fast as PNG, for half as many bytes more.
    """

    level: int = 3

    @property
    def codecs(self) -> list[dict[str, Any]]:
        return [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": self.level, "checksum": False}}]

    def encode(self, image: Image) -> bytes:
        return bytes(zstd_encode(image.tobytes(), level=self.level))


@dataclass(frozen=True)
class Millimetres:
    """Every depth exactly. The bits that pictures of noise have in common are put side by side before packing."""

    @property
    def codecs(self) -> list[dict[str, Any]]:
        """The zarr v3 codec chain that turns the bytes back into depth."""
        blosc = {"cname": "zstd", "clevel": 1, "shuffle": "bitshuffle", "typesize": 2, "blocksize": 0}
        return [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "blosc", "configuration": blosc}]

    def encode(self, depth: NDArray[np.uint16]) -> bytes:
        return bytes(
            blosc_encode(depth.tobytes(), level=1, compressor="zstd", shuffle="bitshuffle", typesize=2, numthreads=1)
        )


def bring(picture: Picture, image: Picture) -> None:
    """Write a picture over ``image``, at the size that it has, whatever the aspect.

    Where it shrinks, every pixel is the mean of what it covers. Live frames and training frames both come through here.
    """
    height, width = image.shape[:2]
    if picture.shape == image.shape:
        image[...] = picture
        return
    import cv2

    shrinks = picture.shape[0] >= height and picture.shape[1] >= width
    cv2.resize(picture, (width, height), image, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def decoder(
    codecs: list[dict[str, Any]], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Callable[[bytes, int], Picture]:
    """Return the function that turns stored bytes back into a picture of ``shape``.

    It also takes the least height and width that will do, 0 for all there is; JPEG gets smaller at less cost.

    Raises:
        ValueError: the bytes were stored in a way this program does not know.
    """
    match [codec["name"] for codec in codecs]:
        case ["imagecodecs_jpeg"]:
            return _unjpeg
        case ["bytes", "zstd"]:
            return lambda stored, _: np.frombuffer(zstd_decode(stored), dtype).reshape(shape)
        case ["bytes", "blosc"]:
            return lambda stored, _: np.frombuffer(blosc_decode(stored, numthreads=1), dtype).reshape(shape)
        case names:
            raise ValueError(
                f"pictures stored as {names} can be read with zarr; this reads imagecodecs_jpeg, or bytes with zstd "
                f"or blosc"
            )


def _unjpeg(stored: bytes, least: int) -> Image:
    image: Image = simplejpeg.decode_jpeg(stored, fastdct=False, fastupsample=False, min_height=least, min_width=least)
    return image
