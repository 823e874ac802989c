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
from pipeline_assets.ingestion.media import sounds
from pipeline_assets.ingestion.media.media_types import sniff
from pipeline_assets.ingestion.media.video_tables import check_tables
from pipeline_assets.runtime.blobs import HEAD_BYTES, size_of

if TYPE_CHECKING:
    from av import VideoFrame
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
    """What a video may be. A picture of max_pixels takes 12 MiB decoded.

    max_pixels_decoded: of all pictures, as if they came evenly, and max_pixels_per_byte more for each byte of the file: a
    black recording of x264, with its keyframes, has 34,000 in 1080p and 62,000 in 4K. Packets: MIN_PACKETS more.
    """

    max_pixels: int = 3_840 * 2_160
    max_duration_s: float = 7_200.0
    min_side_px: int = 16
    max_rate: int = 120
    max_pixels_decoded: int = 2**30
    max_pixels_per_byte: int = 80_000
    max_packets_per_byte: float = 0.125


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
MIN_PACKETS = 10_000
MAX_PACKETS_TO_A_PICTURE = 1_000
"""A file that was cut out of another begins between two pictures that stand alone, 10 s of 60 a second at most."""
MAX_STREAMS = 128
_UNPACKED = 4
"""How many times the file's size its packets may be: Matroska can pack them."""
_USUAL_RATE = Fraction(30)
_OPTIONS = {"max_streams": str(MAX_STREAMS), "max_pixels": str(2 * DEFAULT_LIMITS.max_pixels)}
"""FFmpeg refuses a picture of more pixels before it takes memory for one; codecs round their sizes up."""


@contextmanager
def opened(data: bytes | Path) -> "Iterator[InputContainer]":
    """The file's container, once its tables are bounded. Raises BadClip: too_costly; undecodable, here and for what FFmpeg
    says while it is open.
    """
    import av

    source: Any = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
    with source:
        media_type = sniff(source.read(HEAD_BYTES))
        source.seek(0)
        if media_type not in DEMUXERS:
            raise BadClip("undecodable", f"{media_type} is read as no video: MP4, MOV, WebM and Matroska are")
        if DEMUXERS[media_type] == "mov":
            check_tables(source, size_of(data))
            source.seek(0)
        try:
            with av.open(source, "r", DEMUXERS[media_type], _OPTIONS, metadata_errors="replace") as container:
                for stream in container.streams.video:
                    stream.codec_context.options = _OPTIONS
                    stream.thread_count = 1
                yield container
        except av.error.FFmpegError as error:
            raise BadClip("undecodable", f"the decoder says: {error!s:.200}") from error


def facts(data: bytes | Path, limits: VideoLimits = DEFAULT_LIMITS) -> VideoFacts:
    """What the file's headers, its packets' times and its first picture say.

    Reads the whole file, decodes one picture. Raises BadClip: undecodable, too_small, too_many_pixels, too_long, too_costly.
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
        if not stream.width:
            raise BadClip("undecodable", "its pictures have no size, or one far beyond what is read")
        check_size(stream.width, stream.height, limits)
        first = _first_picture(container)
        check_size(first.width, first.height, limits)
        turn = first.rotation % 360
        width, height = (first.height, first.width) if turn in (90, 270) else (first.width, first.height)
        rate = _rate(stream.average_rate or stream.guessed_rate, limits)
        sample_rate_hz, channels = _sound(container)
    start, end = _span(data, rate, limits)
    if end - start > limits.max_duration_s:
        raise BadClip("too_long", f"{float(end - start):.0f} s; at most {limits.max_duration_s:.0f} are read")
    ticks = max(1, round((end - start) * rate))
    Budget(size_of(data), limits).take(ticks * width * height)
    sounds.check_samples(round(ticks * sample_rate_hz * channels / rate), size_of(data))
    return VideoFacts(width, height, rate, ticks, start, turn, sample_rate_hz, channels)


def _first_picture(container: "InputContainer") -> "VideoFrame":
    """The first one that decodes."""
    for number, packet in enumerate(container.demux(container.streams.video[0])):
        if frames := packet.decode():
            return frames[0]
        if number > MAX_PACKETS_TO_A_PICTURE:
            break
    raise BadClip("undecodable", "no picture of it decodes")


def _sound(container: "InputContainer") -> tuple[int, int]:
    """Samples a second and channels; zeros without sound."""
    if not container.streams.audio:
        return 0, 0
    rate, channels = container.streams.audio[0].rate, container.streams.audio[0].channels
    if not rate or not channels:
        return 0, 0
    sounds.check_rate(rate, min(channels, 8))
    return rate, channels


class Budget:
    """The pixels that may still be decoded of a file, or made of it: a small one can't ask for hours."""

    def __init__(self, size_bytes: int, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._most = self._left = limits.max_pixels_decoded + limits.max_pixels_per_byte * size_bytes

    def take(self, pixels: int) -> None:
        """Raises BadClip (too_costly) once there are none."""
        self._left -= pixels
        if self._left < 0:
            raise BadClip("too_costly", f"pictures of more than {self._most} pixels in all, for so few bytes")


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


def _span(data: bytes | Path, rate: Fraction, limits: VideoLimits) -> tuple[Fraction, Fraction]:
    """The first picture's start and the last one's end in seconds, by the packets' times."""
    from av.stream import Discard

    size = size_of(data)
    max_packets, remaining = MIN_PACKETS + round(limits.max_packets_per_byte * size), MIN_PACKETS + _UNPACKED * size
    first = last = last_begun = None
    with opened(data) as container:
        stream = container.streams.video[0]
        for other in container.streams:
            other.discard = Discard.default if other.index == stream.index else Discard.all
        for number, packet in enumerate(container.demux(stream)):
            remaining -= packet.size
            if number > max_packets or remaining < 0:
                raise BadClip("too_costly", f"more packets than {size} bytes can hold")
            at, length = packet.pts, packet.duration
            if at is None:
                continue
            first = at if first is None or at < first else first
            if length:
                last = at + length if last is None or at + length > last else last
            else:
                last_begun = at if last_begun is None or at > last_begun else last_begun
        tick = Fraction(stream.time_base or 0)
    ends = [
        *([last * tick] if last is not None else []),
        *([last_begun * tick + 1 / rate] if last_begun is not None else []),
    ]
    if first is None or max(ends) <= first * tick:
        raise BadClip("undecodable", "no picture has a time")
    return first * tick, max(ends)
