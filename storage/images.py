"""How a camera's frames are kept: small and nearly the same, or exactly the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import imagecodecs
import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""Height, width, and red, green, blue; 0 to 255."""


class ImageCodec(Protocol):
    """A way to turn one image into bytes. What zarr calls it is kept with the frames, and decides how they are read."""

    @property
    def codecs(self) -> list[dict[str, Any]]:
        """The zarr v3 codec chain that turns the bytes back into the image."""
        ...

    def encode(self, image: Image) -> bytes: ...


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
        return bytes(imagecodecs.zstd_encode(image.tobytes(), level=self.level))


def decoder(codecs: list[dict[str, Any]], shape: tuple[int, ...]) -> Callable[[bytes], Image]:
    """Return the function that turns stored bytes back into an image of ``shape``.

    Raises:
        ValueError: the bytes were stored in a way this program does not know.
    """
    match [codec["name"] for codec in codecs]:
        case ["imagecodecs_jpeg"]:
            return _unjpeg
        case ["bytes", "zstd"]:
            return lambda stored: np.frombuffer(imagecodecs.zstd_decode(stored), np.uint8).reshape(shape)
        case names:
            raise ValueError(
                f"frames stored as {names} can be read with zarr; this reads imagecodecs_jpeg or bytes, zstd"
            )


def _unjpeg(stored: bytes) -> Image:
    image: Image = simplejpeg.decode_jpeg(stored, fastdct=False, fastupsample=False)
    return image
