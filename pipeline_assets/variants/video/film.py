"""A video as two restartable streams: pictures at a constant rate, and the samples of its sound. Nothing is kept in memory.

Pictures are counted in ticks: tick k is shown from k / rate on. The sound is as long as the pictures, to the sample, so
that an operation that preserves ticks preserves the sync. Pictures are yuv420p, sound is int16.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import BadClip
from pipeline_assets.ingestion.media import videos
from pipeline_assets.labeling.segments import Segments
from pipeline_assets.runtime.blobs import size_of
from pipeline_assets.variants.photos.marks import Marks
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
    """pictures: yields `ticks` frames; sound: yields chunks of samples, `samples` of them in all, none without sound.

    rate: pictures per second. sample_rate_hz and channels are 0 without sound. marks: boxes and masks that
    hold for every picture; None if unknown.
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
    marks: Marks | None = None

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
        """Samples per channel of its sound."""
        return self.samples_at(self.ticks)

    def samples_at(self, tick: int) -> int:
        """The sample at the start of a tick."""
        return round(Fraction(tick * self.sample_rate_hz) / self.rate)


def film(data: bytes | Path, limits: videos.VideoLimits = videos.DEFAULT_LIMITS) -> Film:
    """Open a file as a film: at most two channels, an even width and height, upright. Raises BadClip."""
    facts = videos.facts(data, limits)
    channels = min(facts.channels, 2)
    silent_film = Film(
        facts.width_px // 2 * 2,
        facts.height_px // 2 * 2,
        facts.rate,
        facts.ticks,
        lambda: _pictures(data, facts, limits),
        facts.sample_rate_hz,
        channels,
    )
    if not channels:
        return silent_film
    return Film(
        silent_film.width_px,
        silent_film.height_px,
        silent_film.rate,
        silent_film.ticks,
        silent_film.pictures,
        silent_film.sample_rate_hz,
        channels,
        lambda: exactly(_sound(data, facts, channels), silent_film.samples, channels),
    )


def selected(pictures: "Iterator[VideoFrame]", ticks: Iterable[int]) -> "Iterator[VideoFrame]":
    """The pictures at these ticks, which never decrease: the basis of speed, pauses and other rates."""
    at = -1
    frame: VideoFrame | None = None
    for tick in ticks:
        while at < tick:
            frame, at = next(pictures), at + 1
        assert frame is not None  # noqa: S101  # ticks start at 0
        yield frame


def exactly(chunks: Iterable[Samples], count: int, channels: int) -> Iterator[Samples]:
    """The first `count` samples of the chunks, extended with silence."""
    left = count
    for chunk in chunks:
        if left <= 0:
            return
        yield chunk[:left]
        left -= len(chunk)
    while left > 0:
        yield np.zeros((min(left, 2**16), channels), np.int16)
        left -= 2**16


def insert(chunks: Iterable[Samples], at: int, put_in: Callable[[], Iterable[Samples]]) -> Iterator[Samples]:
    """The chunks with others inserted after `at` samples."""
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
            samples = np.concatenate(waiting)
            complete = have // size * size
            yield from (samples[at : at + size] for at in range(0, complete, size))
            waiting, have = [samples[complete:]], have - complete
    if have:
        yield np.concatenate(waiting)


def _pictures(data: bytes | Path, facts: videos.VideoFacts, limits: videos.VideoLimits) -> "Iterator[VideoFrame]":
    """One picture per tick: the last one that has begun, to half a tick."""
    with videos.opened(data) as container:
        stream = container.streams.video[0]
        upright, budget = filters.Upright(facts), videos.Budget(size_of(data), limits)
        current: VideoFrame | None = None
        tick = next_tick = 0
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise BadClip("truncated", f"picture {tick} is damaged")
            videos.check_size(frame.width, frame.height, limits)
            budget.take(frame.width * frame.height)
            if frame.pts is not None and frame.time_base:
                next_tick = round((frame.pts * Fraction(frame.time_base) - facts.start) * facts.rate)
            while current is not None and tick < min(next_tick, facts.ticks):
                yield current
                tick += 1
            current = upright(frame)
            next_tick += 1
        if current is None:
            raise BadClip("undecodable", "no picture of it decodes")
        while tick < facts.ticks:
            yield current
            tick += 1


def _sound(data: bytes | Path, facts: videos.VideoFacts, channels: int) -> Iterator[Samples]:
    """The sound from the first picture's start, by the file's times: gaps are silent, earlier samples left out."""
    with videos.opened(data) as container:
        stream = container.streams.audio[0]
        convert = filters.AsInt16(facts.sample_rate_hz, channels)
        position = 0
        for frame in container.decode(stream):
            at = _sample_of(frame, facts, position)
            samples = convert(frame)
            if abs(at - position) > (MAX_DRIFT_S * facts.sample_rate_hz if position else 0):
                if at > position:
                    yield from exactly((), at - position, channels)
                else:
                    samples = samples[position - at :]
                position = max(at, position)
            if len(samples):
                yield samples
                position += len(samples)
        yield convert(None)


def _sample_of(frame: "AudioFrame", facts: videos.VideoFacts, otherwise: int) -> int:
    """The position of a chunk of sound, in samples from the film's start."""
    if frame.pts is None or not frame.time_base:
        return otherwise
    return round((frame.pts * Fraction(frame.time_base) - facts.start) * facts.sample_rate_hz)
