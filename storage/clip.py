"""Pictures kept as one film (mp4), and read at random; making such a film.

Of a film it is kept, beside it, when each picture is shown and where reading can begin, so that reading one picture
takes unpacking no more than those since the last that stands alone.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from numpy.typing import NDArray

from storage import arrays
from storage.frames import Frames
from storage.images import Image
from storage.layout import FILM, MOMENTS

FULL = "yuvj420p"
"""How our own films keep colour: as JPEG does, with the whole range of a byte."""


@dataclass(frozen=True)
class Coding:
    """How a film is made: H.264, which any player plays, one picture in ``gop`` standing alone.

    The same pictures always make the same bytes. What the eye would not miss is not traded for what it would: a
    policy's eye is not ours. Colour gets more than is usual, for objects are told apart by it.
    """

    crf: float = 22.0
    """Smaller is better and larger."""
    gop: int = 10
    preset: str = "slow"

    @property
    def options(self) -> dict[str, str]:
        """In the encoder's words. Its look-ahead tree (mbtree) makes other bytes of the same pictures, so it is off."""
        shares = "chroma-qp-offset=-4:pbratio=1.1:ipratio=1.2:mbtree=0"
        fixed = {"tune": "psnr", "bf": "3", "threads": "1", "x264-params": shares}
        return {"crf": str(self.crf), "preset": self.preset, "g": str(self.gop), **fixed}


@dataclass(frozen=True)
class Told:
    """What a film tells of itself."""

    codec: str
    """E.g. "h264", "hevc", "av1"."""
    height: int
    width: int
    moments: NDArray[np.int64]
    """(pictures, 2), see `storage.layout.MOMENTS`."""


def told(path: Path) -> Told:
    """Look through a film, without unpacking its pictures.

    Raises:
        ValueError: it cannot be read, or holds no pictures, or not from the first on.
    """
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise ValueError(f"{path} holds no pictures")
            stream = file.streams.video[0]
            found = [(packet.pts, packet.is_keyframe) for packet in file.demux(stream) if _shows(packet)]
            moments = np.array(sorted(found), np.int64).reshape(-1, 2)
            about = Told(stream.codec.canonical_name, stream.height, stream.width, moments)
    except av.FFmpegError as error:
        raise ValueError(f"{path} is no film that can be read: {error}") from error
    if not len(moments) or not moments[0, 1] or (np.diff(moments[:, 0]) <= 0).any():
        raise ValueError(f"{path} does not begin with a picture that stands alone, or shows two at once")
    return about


class Clip:
    """The pictures of a film, by their place in the take.

    Args:
        folder: the camera's, with the film and its moments.
        shape: pictures, height, width, 3. A film may be one row or column larger, where its codec wants even numbers.
        codec: its name.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, folder: Path, shape: tuple[int, ...], codec: str) -> None:
        self._folder = folder
        self.shape = shape
        self.codec = codec
        self._moments: NDArray[np.int64] | None = None

    @property
    def clip(self) -> Path:
        return self._folder / FILM

    def stored(self, places: Sequence[int]) -> Iterator[bytes]:
        raise ValueError(f"{self.clip} is one film; its pictures cannot be had one by one, only unpacked")

    def decoded(self, places: Sequence[int], least: int = 0) -> Iterator[Image]:
        """Yield these pictures, whole whatever is the least that will do. Places that go up are read in one go.

        Raises:
            OSError: the film is damaged.
        """
        if self._moments is None:
            self._moments = arrays.read_array(self._folder / MOMENTS)
        if len(places):
            yield from _pictures(self.clip, self._moments, places, self.shape[1:])


def film(frames: Frames, path: Path, fps: float, how: Coding) -> None:
    """Make a film of colour pictures, shown at ``fps``.

    JPEG is not turned into red, green and blue on the way, which would blur its colours. An odd row or column is
    doubled at the edge; whoever reads the film cuts that off.

    Raises:
        OSError: it could not be written.
    """
    rate = Fraction(fps).limit_denominator(1001)
    try:
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as file:
            stream: Any = file.add_stream("libx264", rate=rate, options=how.options)
            stream.height, stream.width = (side + side % 2 for side in frames.shape[1:3])
            stream.pix_fmt = FULL
            for number, planes in enumerate(_planes(frames)):
                planes.pts, planes.time_base, planes.pict_type = number, 1 / rate, PictureType.NONE
                file.mux(stream.encode(planes))
            file.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(f"{path} cannot be written: {error}") from error


def shown(path: Path, shape: tuple[int, ...]) -> Iterator[Image]:
    """Yield every image of a film from the first to the last, cut to ``shape``.

    Raises:
        ValueError: it cannot be read.
        OSError: it is damaged.
    """
    moments = told(path).moments
    return _pictures(path, moments, range(len(moments)), shape)


def adopt(clip: Path, folder: Path) -> None:
    """Take a copy of a film into a camera's folder. Once it has its name there, the disk has it."""
    new = folder / f"{FILM}.new"
    shutil.copyfile(clip, new)
    arrays.sync(new)
    new.replace(folder / FILM)
    arrays.sync(folder)


def fits(shape: tuple[int, ...], about: Told) -> bool:
    """Whether a film shows pictures of this height and width, or of the next even ones."""
    height, width = shape[:2]
    return (about.height, about.width) in {(height, width), (height + height % 2, width + width % 2)}


def _pictures(path: Path, moments: NDArray[np.int64], places: Sequence[int], shape: tuple[int, ...]) -> Iterator[Image]:
    """Read on to each place; jump where it is behind, or where less has to be unpacked from a later start."""
    starts = np.flatnonzero(moments[:, 1])
    try:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            stream.codec_context.thread_count = 1
            coming, here = iter(file.decode(stream)), -1
            picture: Image = np.empty(0, np.uint8)
            for place in places:
                start = int(starts[np.searchsorted(starts, place, side="right") - 1])
                if place < here or here < start > 0:
                    file.seek(int(moments[start, 0]), stream=stream)
                    coming = iter(file.decode(stream))
                if place != here:
                    picture = _shown(coming, int(moments[place, 0]), path, place)[: shape[0], : shape[1]]
                    here = place
                yield picture
    except av.FFmpegError as error:
        raise OSError(f"{path} is damaged: {error}") from error


def _shown(coming: Iterator[Any], moment: int, path: Path, place: int) -> Image:
    for frame in coming:
        if frame.pts == moment:
            return _coloured(frame)
    raise OSError(f"{path} is damaged: it does not show picture {place}")


def _shows(packet: Any) -> bool:
    return packet.size > 0 and packet.pts is not None and not packet.is_discard


def _planes(frames: Frames) -> Iterator[Any]:
    """Brightness of every pixel and colour of every four, as JPEG and films keep them."""
    height, width = frames.shape[1:3]
    if frames.codec == "imagecodecs_jpeg" and height % 2 == width % 2 == 0:
        unpack: Any = av.CodecContext.create("mjpeg", "r")
        unpack.thread_count = 1
        for number, stored in enumerate(frames.stored(range(len(frames)))):
            (planes,) = unpack.decode(av.Packet(stored))
            yield planes if planes.format.name == FULL else _separated(frames[number])
    else:
        yield from map(_separated, frames)


def _separated(image: Image) -> Any:
    """Take brightness and colour apart, as JFIF does; the mean colour of four pixels stands in their middle."""
    height, width = image.shape[:2]
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    y, red, blue = cv2.split(cv2.cvtColor(even, cv2.COLOR_RGB2YCrCb))
    half = (even.shape[1] // 2, even.shape[0] // 2)
    colours = [cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in (blue, red)]
    whole = np.concatenate([plane.reshape(-1) for plane in (y, *colours)]).reshape(-1, even.shape[1])
    return av.VideoFrame.from_ndarray(whole, FULL)


def _coloured(frame: Any) -> Image:
    """Red, green and blue: of our own films as JPEG's are made, of others as players do."""
    if frame.format.name != FULL:
        others: Image = frame.to_ndarray(format="rgb24")
        return others
    height, width = frame.height, frame.width
    planes = frame.to_ndarray().reshape(-1)
    y, colours = planes[: height * width], planes[height * width :].reshape(2, height // 2, width // 2)
    blue, red = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) for plane in colours)
    image: Any = cv2.cvtColor(cv2.merge([y.reshape(height, width), red, blue]), cv2.COLOR_YCrCb2RGB)
    ours: Image = image
    return ours
