"""The operations on video: what each step of a recipe does to pictures, sound and the times of labels.

`operation(film, random, *other, *, parameters)` returns a film whose streams are computed as they are read; an encoding
returns an output format. A parameter that is a pair of numbers is sampled between them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import segments
from pipeline_assets.variants.operations import Operations, ascending, drawn
from pipeline_assets.variants.video import filters, looks
from pipeline_assets.variants.video.film import Film, Samples, exactly, insert, selected

ENCODINGS = ("mp4", "ffv1")
"""The steps that end a recipe."""

if TYPE_CHECKING:
    from av import VideoFrame

Random = np.random.Generator
Factor = Annotated[float, Field(ge=0.5, le=2)]
Factors = Factor | Annotated[tuple[Factor, Factor], AfterValidator(ascending)]
Length = Annotated[float, Field(ge=0.04, le=60)]
Lengths = Length | Annotated[tuple[Length, Length], AfterValidator(ascending)]
Share = Annotated[float, Field(gt=0, lt=1)]
Shares = Share | Annotated[tuple[Share, Share], AfterValidator(ascending)]
Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
CORNERS: tuple[Corner, ...] = ("top_left", "top_right", "bottom_left", "bottom_right")

LONG_S = 600
"""A film that is longer becomes an MP4 of fragments, a group of pictures each: else the places and times of all its
pictures are held in memory until its end. A shorter one has them in one table, as all readers like it best."""
_FRAGMENTS = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}

VIDEO = Operations("video")
looks.enter(VIDEO)
MARKS_STAY_TRUE = frozenset({"speed", "pause", "frame_drop", *looks.looks()})
"""Operations after which a film's marks are true: these keep them, and looks move them. After any other nothing is known."""


@dataclass(frozen=True)
class Written:
    """An output format: FFmpeg's container and codec, the options of both, and its media type."""

    container: str
    media_type: str
    codec: str
    options: dict[str, str]
    encoding: str
    container_options: dict[str, str] = field(default_factory=dict)


@VIDEO.operation()
def speed(film: Film, random: Random, *, factor: Factors = (0.8, 1.25)) -> Film:
    """Play it faster or slower; the pitch of the sound stays."""
    by = drawn(factor, random)
    ticks = max(1, round(film.ticks / by))
    result = replace(
        film,
        ticks=ticks,
        pictures=lambda: selected(film.pictures(), (min(film.ticks - 1, int((k + 0.5) * by)) for k in range(ticks))),
        segments=segments.faster(film.segments, by),
    )
    return _with_sound(result, lambda: filters.faster(film.sound(), by, film.sample_rate_hz, film.channels))


@VIDEO.operation()
def pause(film: Film, random: Random, *, duration_s: Lengths = (0.5, 1.5)) -> Film:
    """Stop at a random moment: the picture freezes, the sound is silent, and both continue from there."""
    seconds = drawn(duration_s, random)
    length = max(1, round(seconds * film.rate))
    if film.ticks < max(2, length):
        raise UnfitParent("too_short", f"the video lasts {film.duration_s:.2f} s, the pause {seconds:.2f} s")
    at = int(random.integers(1, film.ticks))
    ticks = film.ticks + length
    result = replace(
        film,
        ticks=ticks,
        pictures=lambda: selected(film.pictures(), (k if k < at else max(at - 1, k - length) for k in range(ticks))),
        segments=segments.with_gap(film.segments, float(at / film.rate), float(length / film.rate)),
    )
    silence = film.samples_at(at + length) - film.samples_at(at)
    return _with_sound(
        result, lambda: insert(film.sound(), film.samples_at(at), lambda: exactly((), silence, film.channels))
    )


@VIDEO.operation()
def frame_drop(film: Film, random: Random, *, share: Shares = (0.05, 0.3)) -> Film:
    """Drop a share of the frames, at least one: the frame before is shown instead, as on a poor connection."""
    if film.ticks < 2:
        raise UnfitParent("too_short", "a video of one frame has none to drop")
    is_kept = random.random(film.ticks) >= drawn(share, random)
    is_kept[0] = True
    if is_kept.all():
        is_kept[int(random.integers(1, film.ticks))] = False
    shown_ticks = np.maximum.accumulate(np.where(is_kept, np.arange(film.ticks), 0))
    return replace(film, pictures=lambda: selected(film.pictures(), (int(tick) for tick in shown_ticks)))


@VIDEO.operation(parents=2)
def concatenate(film: Film, random: Random, other: Film) -> Film:
    """Show another video after this one, in this one's size and rate, black around it where its aspect differs."""
    second, film = _matched(other, film), _with_silence_like(film, other)
    moved = segments.shifted(second.segments, film.duration_s)

    def pictures() -> "Iterator[VideoFrame]":
        yield from film.pictures()
        yield from second.pictures()

    def sound() -> Iterator[Samples]:
        yield from film.sound()
        yield from second.sound()

    result = replace(
        film,
        ticks=film.ticks + second.ticks,
        pictures=pictures,
        segments=segments.merged(film.segments, moved),
    )
    return _with_sound(result, sound)


@VIDEO.operation(parents=2)
def picture_in_picture(
    film: Film,
    random: Random,
    other: Film,
    *,
    side: Shares = (0.25, 0.4),
    corner: Corner | Literal["any"] = "any",
    sound: Literal["first", "both"] = "first",
) -> Film:
    """Show another video in a corner of this one, as long as both last. side: its share of width and height.

    The labels are this video's. sound: both at half their loudness, or this one's alone.
    """
    share = drawn(side, random)
    place = CORNERS[int(random.integers(4))] if corner == "any" else corner
    width, height = (max(16, int(full * share) // 2 * 2) for full in (film.width_px, film.height_px))
    left = 0 if place.endswith("left") else film.width_px - width
    top = 0 if place.startswith("top") else film.height_px - height
    small = _matched(other, replace(film, width_px=min(width, film.width_px), height_px=min(height, film.height_px)))

    def pictures() -> "Iterator[VideoFrame]":
        inner = small.pictures()
        for frame in film.pictures():
            small_frame = next(inner, None)
            yield (
                frame if small_frame is None else _overlaid(frame, small_frame, max(left, 0) // 2 * 2, max(top, 0) // 2 * 2)
            )

    result = replace(film, pictures=pictures)
    if sound == "first" or not small.has_audio:
        return result
    film = _with_silence_like(film, other)
    result = replace(result, sample_rate_hz=film.sample_rate_hz, channels=film.channels)
    return _with_sound(result, lambda: _both(film, small))


@VIDEO.operation(version=2)
def mp4(film: Film, random: Random, *, crf: Annotated[int, Field(ge=0, le=40)] = 20) -> Written:
    """Write it as MP4: H.264 of constant quality (lower is better, 0 loses nothing), and FLAC, lossless.

    A long film is fragmented.
    """
    quality = "lossless" if crf == 0 else f"crf {crf}"
    options = {
        "preset": "superfast",
        "crf": str(crf),
        # The same bytes on every processor, independent of its vector instructions.
        "x264-params": "threads=1:lookahead-threads=1:cpu-independent=1",
    }
    fragments = _FRAGMENTS if film.duration_s > LONG_S else {}
    return Written("mp4", "video/mp4", "libx264", options, f"h264, {quality}; flac, 16 bits, lossless", fragments)


@VIDEO.operation()
def ffv1(film: Film, random: Random) -> Written:
    """Write it as Matroska, lossless: FFV1 and FLAC. About ten times as large."""
    options = {"level": "3", "slices": "4", "slicecrc": "1", "g": "30"}
    description = "ffv1, lossless; flac, 16 bits, lossless"
    return Written("matroska", "video/x-matroska", "ffv1", options, description)


def _with_sound(film: Film, sound: "object") -> Film:
    """The film with this sound, cut or extended to the length of its pictures; a film without sound stays silent."""
    if not film.has_audio:
        return film
    return replace(film, sound=lambda: exactly(sound(), film.samples, film.channels))  # type: ignore[operator]


def _with_silence_like(film: Film, other: Film) -> Film:
    """Add silence to a film without sound if the other has sound."""
    if film.has_audio or not other.has_audio:
        return film
    result = replace(film, sample_rate_hz=other.sample_rate_hz, channels=other.channels)
    return _with_sound(result, lambda: iter(()))


def _matched(other: Film, model: Film) -> Film:
    """A film in another's size, rate and sound format; its length stays, to half a tick."""
    ticks = max(1, round(other.ticks * model.rate / other.rate))
    step = Fraction(other.rate) / model.rate
    half = Fraction(1, 2)

    def pictures() -> "Iterator[VideoFrame]":
        fit = filters.Scaled(model.width_px, model.height_px)
        source_ticks = (min(other.ticks - 1, math.floor((k + half) * step)) for k in range(ticks))
        last: tuple[VideoFrame | None, VideoFrame | None] = (None, None)
        for frame in selected(other.pictures(), source_ticks):
            if frame is not last[0]:
                last = (frame, fit(frame))
            assert last[1] is not None  # noqa: S101
            yield last[1]

    sound_of = model if model.has_audio else other
    result = replace(
        model,
        ticks=ticks,
        pictures=pictures,
        sample_rate_hz=sound_of.sample_rate_hz,
        channels=sound_of.channels,
        segments=other.segments,
    )
    if not other.has_audio:
        return _with_sound(result, lambda: iter(()))
    return _with_sound(
        result, lambda: filters.resampled(other.sound(), other.sample_rate_hz, result.sample_rate_hz, result.channels)
    )


def _overlaid(frame: "VideoFrame", small_frame: "VideoFrame", left: int, top: int) -> "VideoFrame":
    """A copy of a picture with another one over it. Both yuv420p; left and top are even."""
    import av

    pixels, small = frame.to_ndarray().copy(), small_frame.to_ndarray()
    height, width = frame.height, frame.width
    rows, columns = small_frame.height, small_frame.width
    pixels[top : top + rows, left : left + columns] = small[:rows]
    for plane in range(2):
        # Both chroma planes follow the luma, each in rows of half the width.
        big = pixels[height:].reshape(2, height // 2, width // 2)[plane]
        little = small[rows:].reshape(2, rows // 2, columns // 2)[plane]
        big[top // 2 : (top + rows) // 2, left // 2 : (left + columns) // 2] = little
    result = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
    filters.tag(result, frame)
    return result


def _both(film: Film, small: Film) -> Iterator[Samples]:
    """The mean of two sounds, in chunks of one size."""
    from pipeline_assets.variants.video.film import chunked

    size = 4_096
    second = chunked(exactly(small.sound(), film.samples, film.channels), size)
    for first, other in zip(chunked(film.sound(), size), second, strict=True):
        yield ((first.astype(np.int32) + other) // 2).astype(np.int16)
