"""Generated recordings and clips of the sample, since no dependency ships any. They sound like speech without words.

A voice is a train of pulses through three resonances, as vowels are; a seed determines vowels, pitch and pauses. Clips are
pans over the sample's photos, with such a voice. The same seed gives the same bytes.
"""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline_assets.sample.photos import SampleFile, shipped_file

RATE_HZ = 16_000
VOWELS = {
    "ah": (730, 1090, 2440),
    "ee": (270, 2290, 3010),
    "oo": (300, 870, 2240),
    "eh": (530, 1840, 2480),
    "aw": (570, 840, 2410),
}
"""Resonances of five vowels in Hz: Peterson and Barney 1952, men."""
BANDWIDTHS_HZ = (80, 110, 160)
RECORDINGS = 6
CLIP_PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png")
CLIP_SIZE_PX, CLIP_RATE, CLIP_S = (256, 192), 15, 2.048
"""Whole blocks of pictures and of sound, since the padding of encoders varies."""


def recordings() -> Iterator[SampleFile]:
    """WAV and FLAC, one to two seconds each, of several voices."""
    import soundfile

    for number in range(RECORDINGS):
        kind = ("WAV", "FLAC")[number % 2]
        file = io.BytesIO()
        sound, segments = voice(1.0 + number / 6, number)
        soundfile.write(file, sound, RATE_HZ, format=kind, subtype="PCM_16")
        yield SampleFile(f"sample-recording-{number}.{kind.lower()}", file.getvalue(), {"segments": segments})


def clips() -> Iterator[SampleFile]:
    """MP4, two seconds each: a pan over a photo, with a voice."""
    for number, name in enumerate(CLIP_PHOTOS):
        with Image.open(io.BytesIO(shipped_file(name))) as photo:
            sound, segments = voice(CLIP_S, 100 + number)
            yield SampleFile(f"sample-clip-{number}.mp4", _clip(photo, sound), {"segments": segments})


def voice(seconds: float, seed: int) -> tuple[npt.NDArray[np.float32], list[dict[str, Any]]]:
    """Syllables with pauses between them: (samples,) in [-1, 1] at RATE_HZ; and the segments of the vowels."""
    from scipy.signal import lfilter

    random = np.random.default_rng(seed)
    total = int(seconds * RATE_HZ)
    pitch_hz = random.uniform(90, 220)
    sound = np.zeros(total)
    segments: list[dict[str, Any]] = []
    at = int(0.05 * RATE_HZ)
    while at < total:
        length = min(int(random.uniform(0.12, 0.3) * RATE_HZ), total - at)
        times = np.arange(length) / RATE_HZ
        phase = np.cumsum(np.full(length, pitch_hz)) / RATE_HZ + 0.3 * np.sin(2 * np.pi * 5 * times)
        syllable = (np.diff(np.floor(phase), prepend=0) > 0).astype(float)
        vowel = list(VOWELS)[random.integers(len(VOWELS))]
        segments.append({"start_s": at / RATE_HZ, "end_s": (at + length) / RATE_HZ, "text": vowel})
        for centre, width in zip(VOWELS[vowel], BANDWIDTHS_HZ, strict=True):
            radius = np.exp(-np.pi * width / RATE_HZ)
            syllable = lfilter([1 - radius], [1, -2 * radius * np.cos(2 * np.pi * centre / RATE_HZ), radius**2], syllable)
        sound[at : at + length] = syllable * np.hanning(length)
        at += length + int(random.uniform(0.04, 0.2) * RATE_HZ)
    sound += random.normal(0, 0.001 * max(np.abs(sound).max(), 1e-9), total)
    return (0.6 * sound / np.abs(sound).max()).astype(np.float32), segments


def _clip(photo: Image.Image, sound: npt.NDArray[np.float32]) -> bytes:
    import av

    width, height = CLIP_SIZE_PX
    wide = photo.convert("RGB").resize((2 * width, round(2 * width * photo.height / photo.width)))
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"fflags": "+bitexact"}) as out:
        video = out.add_stream("libx264", rate=Fraction(CLIP_RATE))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        audio = out.add_stream("aac", rate=RATE_HZ)
        video.codec_context.options = audio.codec_context.options = {"flags": "+bitexact"}
        frames = round(CLIP_S * CLIP_RATE)
        for number in range(frames):
            left, top = width * number // frames, max(0, (wide.height - height) * number // frames)
            picture = wide.crop((left, top, left + width, top + height))
            out.mux(video.encode(av.VideoFrame.from_image(picture)))  # type: ignore[no-untyped-call]
        heard = av.AudioFrame.from_ndarray((sound[None] * 32_767).astype(np.int16), "s16", "mono")
        heard.sample_rate = RATE_HZ
        for part in (heard, None):
            out.mux(audio.encode(part))
        out.mux(video.encode(None))
    return file.getvalue()
