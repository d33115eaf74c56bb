"""Films: pictures to mp4 and back, and a film's packets moved from file to file without touching a pixel."""

import hashlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

EDGE = 1.0
"""How long before the moment that is wanted to begin looking for it, in seconds."""

CODES = 4095
"""The largest of the 12-bit numbers that stand for a depth."""


class BadFilm(OSError):
    """A film is damaged, or does not hold the pictures it should. The message names it."""


@dataclass(frozen=True)
class Coding:
    """How pictures become a film. As it is, a film looks like the pictures, and any player plays it."""

    codec: str = "libx264"
    crf: int = 18
    """Smaller is better and larger; 18 cannot be told from the pictures."""
    preset: str = "veryfast"
    gop: int = 10
    """One picture in so many stands alone, where reading can begin."""

    @property
    def said(self) -> dict[str, Any]:
        """What info.json says of it."""
        return {"video.g": self.gop, "video.crf": self.crf, "video.preset": self.preset}


@dataclass(frozen=True)
class Depth:
    """How millimetres become 12-bit numbers, in LeRobot's terms."""

    most: float = 4.095
    """Metres; what is further away is told as this. 0 stays 0: nothing is known."""
    shift: float = 3.5
    logarithmic: bool = False
    least: float = 0.0
    """Metres; what is nearer is told as this."""

    @classmethod
    def reaching(cls, millimetres: int) -> "Depth":
        """Every millimetre has its number up to 4.095 m; beyond, near ones are told more exactly than far ones."""
        return cls() if millimetres <= CODES else cls(max(10.0, millimetres / 1000), logarithmic=True)

    @classmethod
    def said_by(cls, info: dict[str, Any]) -> "Depth":
        """What info.json says; where it says nothing, what LeRobot means then."""
        least, most = info.get("video.depth_min", 0.01), info.get("video.depth_max", 10.0)
        return cls(most, info.get("video.shift", 3.5), info.get("video.use_log", True), least)

    @property
    def said(self) -> dict[str, Any]:
        named = {"depth_min": self.least, "depth_max": self.most, "shift": self.shift, "use_log": self.logarithmic}
        return {f"video.{name}": value for name, value in named.items()}

    def codes(self, millimetres: NDArray[np.uint16]) -> NDArray[np.uint16]:
        low, high = self._bend(self.least), self._bend(self.most)
        part = (self._bend(millimetres.astype("f8") / 1000) - low) / (high - low)
        codes: NDArray[np.uint16] = np.rint(part * CODES).clip(0, CODES).astype(np.uint16)
        return codes

    def millimetres(self, codes: NDArray[np.uint16]) -> NDArray[np.uint16]:
        low, high = self._bend(self.least), self._bend(self.most)
        bent = codes.astype("f8") / CODES * (high - low) + low
        metres = np.exp(bent) - self.shift if self.logarithmic else bent
        whole: NDArray[np.uint16] = np.rint(metres * 1000).clip(0, 65535).astype(np.uint16)
        return whole

    def _bend(self, metres: Any) -> Any:
        return np.log(metres + self.shift) if self.logarithmic else metres


def encode(pictures: Iterable[NDArray[Any]], path: Path, fps: float, how: Coding) -> None:
    """Make a film of colour pictures (height, width, 3)."""
    options = {"crf": str(how.crf), "preset": how.preset, "g": str(how.gop), "bf": "0"}
    _write(
        (av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24") for picture in pictures),
        path,
        fps,
        how.codec,
        "",
        options,
    )


def encode_depth(pictures: Iterable[NDArray[np.uint16]], path: Path, fps: float, depth: Depth) -> None:
    """Make a film of depths (height, width) in millimetres: 12 bits each, without further loss."""
    options = {"preset": "veryfast", "g": "2", "x265-params": "lossless=1:log-level=error"}
    _write((_grey(depth.codes(picture)) for picture in pictures), path, fps, "libx265", "gray12le", options)


def copy(film: Path, into: Path, fps: float, shape: tuple[int, ...]) -> bool:
    """Copy a film packet by packet, at ``fps``, if it is of this many frames, height and width; say whether it is."""
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        packets = [packet for packet in file.demux(stream) if packet.size and packet.pts is not None]
        if (len(packets), stream.height, stream.width) != shape[:3]:
            return False
        order = np.argsort(np.argsort([packet.pts or 0 for packet in packets], kind="stable"))
        _mux(packets, order.tolist(), stream, into, fps)
    return True


def cut(film: Path, begin: float, fps: float, frames: int, into: Path) -> tuple[bytes, bool]:
    """Take so many frames out of a film, from ``begin`` seconds on, packet by packet.

    Returns:
        A digest of these frames, and whether they were written: not if they cannot be shown without others.

    Raises:
        BadFilm: the film cannot be read, or some of these frames are not in it.
    """
    places: list[int] = []
    packets: list[Any] = []
    digest = hashlib.blake2b(digest_size=16)
    passed = tangled = False
    with _opened(film) as file:
        stream = file.streams.video[0]
        _go(file, stream, begin)
        for packet in file.demux(stream):
            place = None if packet.pts is None else _place(packet.pts * stream.time_base, begin, fps)
            if place is None or place < 0 or not packet.size:
                continue
            if place < frames:
                tangled |= passed or (not packets and not (packet.is_keyframe and place == 0))
                packets.append(packet)
                places.append(place)
            else:
                passed = True
                if len(packets) >= frames:
                    break
        if sorted(places) != list(range(frames)):
            raise BadFilm(f"{film} has {len(set(places))} of the {frames} frames from {begin:.3f} s on")
        for packet in packets:
            digest.update(packet)
        if not tangled:
            _mux(packets, places, stream, into, fps)
    return digest.digest(), not tangled


def decode(film: Path, begin: float, fps: float, frames: int, kind: str = "rgb24") -> Iterator[NDArray[Any]]:
    """Yield so many pictures of a film, from ``begin`` seconds on.

    Raises:
        BadFilm: the film cannot be read, or some of these frames are not in it.
    """
    wanted = 0
    with _opened(film) as file:
        stream = file.streams.video[0]
        _go(file, stream, begin)
        for frame in file.decode(stream):
            place = None if frame.pts is None else _place(frame.pts * stream.time_base, begin, fps)
            if place == wanted:
                yield frame.to_ndarray(format=kind)
                wanted += 1
            if wanted == frames:
                return
    raise BadFilm(f"{film} has {wanted} of the {frames} frames from {begin:.3f} s on")


def about(film: Path) -> dict[str, Any]:
    """What info.json says of a film, as far as the film tells."""
    said: dict[str, Any] = {}
    with _opened(film) as file:
        stream = file.streams.video[0]
        said |= {"video.height": stream.height, "video.width": stream.width}
        said |= {"video.codec": stream.codec.canonical_name, "video.pix_fmt": stream.pix_fmt}
        said |= {"video.fps": int(stream.average_rate or 0), "video.channels": len(stream.format.components)}
    return said | {"has_audio": False}


@contextmanager
def _opened(film: Path) -> Generator[Any]:
    """A film that is open; what goes wrong with it is told with its name."""
    try:
        with av.open(str(film)) as file:
            if not file.streams.video:
                raise BadFilm(f"{film} has no pictures in it")
            yield file
    except av.FFmpegError as error:
        raise BadFilm(f"{film} cannot be read: {error}" if film.exists() else f"{film} is missing") from error


def _go(file: Any, stream: VideoStream, begin: float) -> None:
    """Go to a picture that stands alone, some time before ``begin``."""
    if begin > EDGE:
        file.seek(int((begin - EDGE) / (stream.time_base or Fraction(1))), stream=stream)


def _place(seconds: Any, begin: float, fps: float) -> int:
    return round((float(seconds) - begin) * fps)


def _mux(packets: Sequence[Any], places: Sequence[int], stream: VideoStream, into: Path, fps: float) -> None:
    """Write packets, given in the order they are decoded, so that each is shown at its place."""
    before = max(order - place for order, place in enumerate(places))
    with av.open(str(into), "w", options={"movflags": "faststart"}) as out:
        copied = out.add_stream_from_template(stream, opaque=True)
        copied.time_base = 1 / _rate(fps)
        for order, (packet, place) in enumerate(zip(packets, places, strict=True)):
            packet.stream = copied
            packet.time_base = 1 / _rate(fps)
            packet.pts, packet.dts, packet.duration = place, order - before, 1
            out.mux(packet)


def _write(
    pictures: Iterator[av.VideoFrame], path: Path, fps: float, codec: str, kind: str, options: dict[str, str]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream: Any = out.add_stream(codec, rate=_rate(fps), options=options)
        for number, picture in enumerate(pictures):
            if number == 0:
                even = picture.width % 2 == 0 and picture.height % 2 == 0
                stream.width, stream.height = picture.width, picture.height
                stream.pix_fmt = kind or ("yuv420p" if even else "yuv444p")
            picture.pts, picture.time_base = number, 1 / _rate(fps)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())


def _grey(codes: NDArray[np.uint16]) -> av.VideoFrame:
    frame = av.VideoFrame(codes.shape[1], codes.shape[0], "gray12le")
    plane = frame.planes[0]
    np.frombuffer(plane, "<u2").reshape(codes.shape[0], -1)[:, : codes.shape[1]] = codes
    return frame


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1001)
