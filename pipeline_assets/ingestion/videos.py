"""Video files as containers: opening them safely, and what their headers and packets say. Few pictures are decoded here.

Only the formats named here are opened, each by its own demuxer, from bytes or an open file: a playlist that names other
files, or the network, is none of them.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_assets.errors import BadClip
from pipeline_assets.held import HEAD_BYTES
from pipeline_assets.ingestion.media_types import sniff

if TYPE_CHECKING:
    from av.container import InputContainer

DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/webm": "matroska",
    "video/x-matroska": "matroska",
}
"""FFmpeg's name of the reader of each media type that is opened."""


@dataclass(frozen=True)
class VideoLimits:
    """What a video may be. A picture of max_pixels takes 12 MiB decoded."""

    max_pixels: int = 3_840 * 2_160
    max_duration_s: float = 7_200.0
    min_side_px: int = 16
    max_rate: int = 120


@dataclass(frozen=True)
class VideoFacts:
    """What a video is. width_px, height_px: as shown, turned upright; start: of its first picture, in the file's time.

    rate: pictures a second, as if they came evenly; ticks: that many at this rate; turn_deg: counter-clockwise, of what is
    stored to what is shown. sample_rate_hz, channels: 0 without sound.
    """

    width_px: int
    height_px: int
    rate: Fraction
    ticks: int
    start: Fraction
    turn_deg: int = 0
    sample_rate_hz: int = 0
    channels: int = 0

    @property
    def duration_s(self) -> float:
        """From the first picture's start to the last one's end."""
        return float(self.ticks / self.rate)


DEFAULT_LIMITS = VideoLimits()
_USUAL_RATE = Fraction(30)


@contextmanager
def opened(data: bytes | Path) -> "Iterator[InputContainer]":
    """The file's container. Raises BadClip(undecodable) here and for what FFmpeg says while it is open."""
    import av

    source: Any = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
    with source:
        media_type = sniff(source.read(HEAD_BYTES))
        source.seek(0)
        if media_type not in DEMUXERS:
            raise BadClip("undecodable", f"{media_type} is read as no video: MP4, MOV, WebM and Matroska are")
        try:
            with av.open(source, "r", format=DEMUXERS[media_type], metadata_errors="replace") as container:
                yield container
        except av.error.FFmpegError as error:
            raise BadClip("undecodable", f"the decoder says: {error!s:.200}") from error


def facts(data: bytes | Path, limits: VideoLimits = DEFAULT_LIMITS) -> VideoFacts:
    """What the file's headers, its packets' times and its first picture say.

    Reads the whole file, decodes one picture. Raises BadClip: undecodable, too_small, too_many_pixels, too_long.
    """
    try:
        return _facts(data, limits)
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:  # PyAV, at damaged headers
        raise BadClip("undecodable", f"its headers make no sense: {error!s:.200}") from error


def _facts(data: bytes | Path, limits: VideoLimits) -> VideoFacts:
    with opened(data) as container:
        if not container.streams.video:
            raise BadClip("undecodable", "the file holds no pictures")
        stream = container.streams.video[0]
        stream.thread_count = 1
        check_size(stream.width, stream.height, limits)
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise BadClip("undecodable", "no picture of it decodes")
        check_size(first.width, first.height, limits)
        turn = first.rotation % 360
        width, height = (first.height, first.width) if turn in (90, 270) else (first.width, first.height)
        rate = _rate(stream.average_rate or stream.guessed_rate, limits)
        sound = container.streams.audio[0] if container.streams.audio else None
    start, end = _span(data, rate)
    if end - start > limits.max_duration_s:
        raise BadClip("too_long", f"{float(end - start):.0f} s; at most {limits.max_duration_s:.0f} are read")
    has_sound = sound is not None and sound.rate and sound.channels
    return VideoFacts(
        width,
        height,
        rate,
        max(1, round((end - start) * rate)),
        start,
        turn,
        sound.rate if sound is not None and has_sound else 0,
        sound.channels if sound is not None and has_sound else 0,
    )


def check_size(width: int, height: int, limits: VideoLimits = DEFAULT_LIMITS) -> None:
    """Raises BadClip for pictures that are too large, or too small, to be worked on."""
    if width * height > limits.max_pixels:
        raise BadClip("too_many_pixels", f"{width} x {height}; at most {limits.max_pixels} pixels are read")
    if min(width, height) < limits.min_side_px:
        raise BadClip("too_small", f"{width} x {height} pixels; each side needs {limits.min_side_px}")


def _rate(declared: Fraction | None, limits: VideoLimits) -> Fraction:
    """Pictures a second, as a fraction that encoders can hold; 30 for what is none."""
    if not declared or not 1 <= declared <= limits.max_rate:
        return _USUAL_RATE
    return Fraction(declared).limit_denominator(1_001)


def _span(data: bytes | Path, rate: Fraction) -> tuple[Fraction, Fraction]:
    """The first picture's start and the last one's end in seconds, by the packets' times."""
    with opened(data) as container:
        stream = container.streams.video[0]
        first: Fraction | None = None
        last = Fraction(0)
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            at = packet.pts * Fraction(packet.time_base)
            length = packet.duration * Fraction(packet.time_base) if packet.duration else 1 / rate
            first = at if first is None else min(first, at)
            last = max(last, at + length) if last else at + length
    if first is None or last <= first:
        raise BadClip("undecodable", "no picture has a time")
    return first, last
