"""Videos made for tests: a flash and a click at known moments, so that sync can be measured to a frame."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from pipeline_assets.variants.video.film import Film

RATE_HZ = 48_000


def flashes(
    at_s: Sequence[float] = (0.5, 1.2, 2.0),
    seconds: float = 2.5,
    rate: Fraction | int = 25,
    size: tuple[int, int] = (96, 64),
    sample_rate_hz: int = RATE_HZ,
    channels: int = 2,
    container: str = "mp4",
    codecs: tuple[str, str] = ("libx264", "aac"),
    sound_late_s: float = 0.0,
) -> bytes:
    """Dark frames with a noise floor; at each moment one white frame, and a tone from the same moment on for 20 ms.

    channels: 0 for no sound.
    """
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        video = file.add_stream(codecs[0], rate=rate)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.codec_context.options = {"threads": "1", "crf": "10"}
        sound = None
        if channels:
            sound = file.add_stream(codecs[1], rate=sample_rate_hz)
            sound.codec_context.layout = {1: "mono", 2: "stereo"}[channels]
        count = round(seconds * rate)
        lit = {round(at * rate) for at in at_s}
        for tick in range(count):
            pixels = np.full((size[1], size[0], 3), 235 if tick in lit else 16 + tick % 3, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = tick, 1 / Fraction(rate)
            file.mux(video.encode(frame))
        if sound is not None:
            samples = np.zeros((channels, round(seconds * sample_rate_hz)), np.float32)
            for at in at_s:
                first = round(round(at * rate) / rate * sample_rate_hz)
                length = min(sample_rate_hz // 50, samples.shape[1] - first)
                samples[:, first : first + length] = 0.6 * np.sin(np.arange(length) * 2 * np.pi * 1_000 / sample_rate_hz)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=sound.codec_context.layout.name)
            frame.sample_rate, frame.time_base = sample_rate_hz, Fraction(1, sample_rate_hz)
            frame.pts = round(sound_late_s * sample_rate_hz)
            resampler = av.AudioResampler(
                sound.codec_context.format.name,
                sound.codec_context.layout.name,
                sample_rate_hz,
                frame_size=sound.codec_context.frame_size or 1024,
            )
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                file.mux(sound.encode(part))
            file.mux(sound.encode(None))
        file.mux(video.encode(None))
    return out.getvalue()


def seen_s(film: Film) -> list[float]:
    """When white frames begin, those that follow each other as one."""
    lit = [frame.to_ndarray(format="gray").mean() > 120 for frame in film.pictures()]
    return [float(tick / film.rate) for tick, on in enumerate(lit) if on and not (tick and lit[tick - 1])]


def heard_s(film: Film) -> list[float]:
    """When tones begin."""
    samples = np.concatenate([chunk.astype(np.int32) for chunk in film.sound()])
    loud = np.flatnonzero(np.abs(samples).max(axis=1) > 3_000)
    if not len(loud):
        return []
    begins = np.r_[loud[0], loud[1:][np.diff(loud) > film.sample_rate_hz // 10]]
    return [float(at) / film.sample_rate_hz for at in begins]
