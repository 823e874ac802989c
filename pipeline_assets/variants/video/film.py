"""A video as two streams that can be begun anew: pictures that come evenly, and the samples of its sound. Nothing is held.

Pictures are counted in ticks: tick k is shown from k / rate on. The sound of a film is as long as its pictures, to the
sample, so that what keeps the ticks keeps the sound in sync. Pictures are yuv420p, sound is int16.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import BadClip
from pipeline_assets.ingestion import videos
from pipeline_assets.variants.segments import Segments
from pipeline_assets.variants.video import filters

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame

Samples = npt.NDArray[np.int16]
"""(N, C)."""

MAX_DRIFT_S = 0.02
"""By how much a file's sound may stray from its times before silence is put in or samples are left out."""


def _silent() -> Iterator[Samples]:
    yield from ()


@dataclass(frozen=True)
class Film:
    """pictures: gives `ticks` frames; sound: gives chunks of samples, `samples` of them in all, none without sound.

    rate: pictures a second. sample_rate_hz and channels are 0 without sound.
    """

    width_px: int
    height_px: int
    rate: Fraction
    ticks: int
    pictures: Callable[[], "Iterator[VideoFrame]"]
    sample_rate_hz: int = 0
    channels: int = 0
    sound: Callable[[], Iterator[Samples]] = field(default=_silent)
    segments: Segments = ()

    @property
    def has_audio(self) -> bool:
        """Whether it has sound."""
        return self.sample_rate_hz > 0

    @property
    def duration_s(self) -> float:
        """Its length."""
        return float(self.ticks / self.rate)

    @property
    def samples(self) -> int:
        """Samples of its sound, of one channel."""
        return self.samples_at(self.ticks)

    def samples_at(self, tick: int) -> int:
        """The sample that is heard when a tick begins."""
        return round(Fraction(tick * self.sample_rate_hz) / self.rate)


def film(data: bytes | Path, limits: videos.VideoLimits = videos.DEFAULT_LIMITS) -> Film:
    """A file as a film: at most two channels, an even width and height, turned upright. Raises BadClip."""
    facts = videos.facts(data, limits)
    channels = min(facts.channels, 2)
    made = Film(
        facts.width_px // 2 * 2,
        facts.height_px // 2 * 2,
        facts.rate,
        facts.ticks,
        lambda: _pictures(data, facts, limits),
        facts.sample_rate_hz,
        channels,
    )
    if not channels:
        return made
    return Film(
        made.width_px,
        made.height_px,
        made.rate,
        made.ticks,
        made.pictures,
        made.sample_rate_hz,
        channels,
        lambda: exactly(_sound(data, facts, channels), made.samples, channels),
    )


def selected(pictures: "Iterator[VideoFrame]", ticks: Iterable[int]) -> "Iterator[VideoFrame]":
    """The pictures at these ticks, which never decrease: what speed, pauses and other rates come down to."""
    at = -1
    frame: VideoFrame | None = None
    for tick in ticks:
        while at < tick:
            frame, at = next(pictures), at + 1
        assert frame is not None  # noqa: S101  # ticks start at 0
        yield frame


def exactly(chunks: Iterable[Samples], count: int, channels: int) -> Iterator[Samples]:
    """The first `count` samples of the chunks; silence for those that they lack."""
    left = count
    for chunk in chunks:
        if left <= 0:
            return
        yield chunk[:left]
        left -= len(chunk)
    while left > 0:
        yield np.zeros((min(left, 2**16), channels), np.int16)
        left -= 2**16


def cut(chunks: Iterable[Samples], at: int, put_in: Callable[[], Iterable[Samples]]) -> Iterator[Samples]:
    """The chunks with something put in after `at` samples."""
    before = 0
    is_done = False
    for chunk in chunks:
        if not is_done and before + len(chunk) > at:
            yield chunk[: at - before]
            yield from put_in()
            yield chunk[at - before :]
            is_done = True
        else:
            yield chunk
        before += len(chunk)
    if not is_done:
        yield from put_in()


def chunked(chunks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same samples in chunks of `size`; the last may be shorter."""
    waiting: list[Samples] = []
    have = 0
    for chunk in chunks:
        waiting.append(chunk)
        have += len(chunk)
        if have >= size:
            joined = np.concatenate(waiting)
            whole = have // size * size
            yield from (joined[at : at + size] for at in range(0, whole, size))
            waiting, have = [joined[whole:]], have - whole
    if have:
        yield np.concatenate(waiting)


def _pictures(data: bytes | Path, facts: videos.VideoFacts, limits: videos.VideoLimits) -> "Iterator[VideoFrame]":
    """One picture a tick: the last one that has begun, give or take half a tick."""
    with videos.opened(data) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        upright = filters.Upright(facts)
        held: VideoFrame | None = None
        tick = due = 0
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BadClip("truncated", f"picture {tick} is damaged")
            videos.check_size(frame.width, frame.height, limits)
            if frame.pts is not None and frame.time_base:
                due = round((frame.pts * Fraction(frame.time_base) - facts.start) * facts.rate)
            while held is not None and tick < min(due, facts.ticks):
                yield held
                tick += 1
            held = upright(frame)
            due += 1
        if held is None:
            raise BadClip("undecodable", "no picture of it decodes")
        while tick < facts.ticks:
            yield held
            tick += 1


def _sound(data: bytes | Path, facts: videos.VideoFacts, channels: int) -> Iterator[Samples]:
    """From the first picture's start on, by the file's times: what is missing is silent, what is too early left out."""
    with videos.opened(data) as container:
        stream = container.streams.audio[0]
        convert = filters.AsInt16(facts.sample_rate_hz, channels)
        given = 0
        for frame in container.decode(stream):
            at = _sample_of(frame, facts, given)
            samples = convert(frame)
            if abs(at - given) > (MAX_DRIFT_S * facts.sample_rate_hz if given else 0):
                if at > given:
                    yield from exactly((), at - given, channels)
                else:
                    samples = samples[given - at :]
                given = max(at, given)
            if len(samples):
                yield samples
                given += len(samples)
        yield convert(None)


def _sample_of(frame: "AudioFrame", facts: videos.VideoFacts, otherwise: int) -> int:
    """Where a chunk of sound belongs, in samples from the film's start."""
    if frame.pts is None or not frame.time_base:
        return otherwise
    return round((frame.pts * Fraction(frame.time_base) - facts.start) * facts.sample_rate_hz)
