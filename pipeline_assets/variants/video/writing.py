"""Encodes a film, one tick at a time: one thread, no clock, no program names, so that equal films have equal bytes."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline_assets.runtime.blobs import temporary_path
from pipeline_assets.variants.video.catalogue import Written
from pipeline_assets.variants.video.film import Film, chunked
from pipeline_assets.variants.video.filters import LAYOUTS, frame_of, tag

if TYPE_CHECKING:
    from av import AudioFrame, VideoFrame

SOUND_CHUNK = 4_608
"""Samples that FLAC codes together."""
RESULT_HELD_BYTES = 16 * 2**20
"""A larger result stays on disk."""
_EXACT = {"flags": "+bitexact"}


def encode(film: Film, output: Written) -> bytes | Path:
    """The film as bytes, or as a temporary file if it is large."""
    path = temporary_path()
    write(film, output, path)
    return path if path.stat().st_size > RESULT_HELD_BYTES else path.read_bytes()


def write(film: Film, output: Written, path: Path) -> None:
    """Encode pictures and sound interleaved, at most one chunk apart."""
    import av

    options = {"fflags": "+bitexact", "strict": "experimental"} | output.container_options
    with av.open(str(path), "w", format=output.container, options=options) as out:
        video: Any = out.add_stream(output.codec, rate=film.rate)
        video.width, video.height, video.pix_fmt = film.width_px, film.height_px, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.time_base = 1 / film.rate
        video.codec_context.options = output.options | _EXACT
        sound: Any = None
        if film.has_audio:
            sound = out.add_stream("flac", rate=film.sample_rate_hz)
            sound.codec_context.layout = LAYOUTS[film.channels]
            sound.codec_context.format = "s16"
            # Level 2 predicts with integers alone, so the bytes do not depend on the processor.
            sound.codec_context.options = {"compression_level": "2", **_EXACT}
        heard = _sound(film) if sound else iter(())
        samples_written = 0
        for tick, frame in enumerate(film.pictures()):
            if tick == 0:
                tag(video.codec_context, frame)
            for packet in video.encode(_at(frame, tick, film.rate)):
                out.mux(packet)
            while sound and samples_written < film.samples_at(tick + 1):
                chunk = next(heard)
                samples_written += chunk.samples
                for packet in sound.encode(chunk):
                    out.mux(packet)
        for stream in filter(None, (video, sound)):
            for packet in stream.encode(None):
                out.mux(packet)


def _at(frame: "VideoFrame", tick: int, rate: Fraction) -> "VideoFrame":
    """The picture at its time; the encoder decides whether it starts a group of pictures."""
    from av.video.frame import PictureType

    frame.pts, frame.time_base = tick, 1 / rate
    frame.pict_type = PictureType.NONE
    return frame


def _sound(film: Film) -> "Iterator[AudioFrame]":
    at = 0
    for chunk in chunked(film.sound(), SOUND_CHUNK):
        yield frame_of(chunk, film.sample_rate_hz, at)
        at += len(chunk)
