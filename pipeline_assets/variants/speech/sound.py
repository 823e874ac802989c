"""Decodes and encodes sound: bounded reading of the formats of libsndfile, and lossless writing.

Files are read as float32 in [-1, 1] and written as FLAC or WAV. Only this module rounds, to 16 or 24 bits.
"""

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling.segments import Segments
from pipeline_assets.runtime.blobs import size_of

Samples = npt.NDArray[np.float32]

FIXED_PREDICTORS = 0.25
"""libFLAC's level 2: it predicts by integers alone, so that its bytes hang on no processor; 5 to 10% larger than level 5."""

MAX_PEAK = 64.0
"""Of full scale: files of floats may hold anything."""


@dataclass(frozen=True)
class Limits:
    """Limits on a clip. samples: of all channels, 128 MiB as float32: 35 minutes at 16 kHz, or 6 of 44.1 kHz stereo."""

    max_samples: int = 2**25
    max_bytes: int = 2**29
    max_channels: int = 8
    min_rate_hz: int = 4_000
    max_rate_hz: int = 192_000


@dataclass(frozen=True)
class Clip:
    """Sound with the times of its words. samples: (N, C) float32, N and C at least 1."""

    samples: Samples
    rate_hz: int
    segments: Segments = ()

    @property
    def duration_s(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate_hz

    def with_(self, samples: Samples, segments: Segments | None = None) -> "Clip":
        """A copy with other samples, and with other segments if given."""
        return replace(self, samples=samples, segments=self.segments if segments is None else segments)


DEFAULT_LIMITS = Limits()


def read(data: bytes | Path, limits: Limits = DEFAULT_LIMITS) -> Clip:
    """The samples of a WAV, FLAC, MP3 or Ogg file. Raises UnfitParent: undecodable, empty, too_long, unsupported."""
    import soundfile as sf

    size = size_of(data)
    if size > limits.max_bytes:
        raise UnfitParent("too_long", f"{size:,} bytes; at most {limits.max_bytes:,} are read")
    try:
        with sf.SoundFile(data if isinstance(data, Path) else io.BytesIO(data)) as file:
            _check(file.samplerate, file.channels, limits)
            max_samples = limits.max_samples // file.channels
            if file.frames > max_samples and file.format != "MP3":  # there it is an estimate
                raise UnfitParent("too_long", f"{file.frames / file.samplerate:.0f} s of {file.channels} channels")
            samples = _read_up_to(file, max_samples + 1)
            rate_hz = file.samplerate
    except (sf.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise UnfitParent("undecodable", f"the decoder says: {error!s:.200}") from error
    if len(samples) > max_samples:
        raise UnfitParent("too_long", f"more than {max_samples / rate_hz:.0f} s")
    if not len(samples):
        raise UnfitParent("empty", "the file holds no samples")
    if not np.abs(samples).max() <= MAX_PEAK:  # a NaN compares false too
        raise UnfitParent("undecodable", "samples that are no numbers, or far above full scale")
    return Clip(samples, int(rate_hz))


def _check(rate_hz: int, channels: int, limits: Limits) -> None:
    if not limits.min_rate_hz <= rate_hz <= limits.max_rate_hz:
        raise UnfitParent("unsupported", f"{rate_hz} samples a second")
    if not 1 <= channels <= limits.max_channels:
        raise UnfitParent("unsupported", f"{channels} channels; at most {limits.max_channels} are read")


def _read_up_to(file: "object", limit: int) -> Samples:
    """Read in blocks: a header may declare more samples than the file has."""
    blocks = []
    remaining = limit
    while remaining > 0:
        block: Samples = file.read(min(remaining, 2**20), dtype="float32", always_2d=True)  # type: ignore[attr-defined]
        if not len(block):
            break
        blocks.append(block)
        remaining -= len(block)
    return np.concatenate(blocks) if blocks else np.empty((0, 1), np.float32)


def whole_numbers(samples: Samples, bits: int) -> npt.NDArray[np.int16] | npt.NDArray[np.int32]:
    """Samples rounded to 16 or 24 bits: int16, or int32 whose low 8 bits are 0. A clip above full
    scale is scaled down as a whole, never clipped.
    """
    peak = float(np.abs(samples).max(initial=0))
    scale = 2 ** (bits - 1) / max(peak, 1.0)
    rounded = np.rint(samples * np.float64(scale)).clip(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rounded.astype(np.int16) if bits == 16 else rounded.astype(np.int32) << 8


def encode(clip: Clip, file_format: str, bits: int) -> bytes:
    """The clip as FLAC or WAV of 16 or 24 bits: lossless beyond the rounding. The bytes are deterministic."""
    import soundfile as sf

    out = io.BytesIO()
    samples = whole_numbers(clip.samples, bits)
    level = {"compression_level": FIXED_PREDICTORS} if file_format == "FLAC" else {}
    sf.write(out, samples, clip.rate_hz, format=file_format, subtype=f"PCM_{bits}", **level)
    return out.getvalue()


def resampled(samples: Samples, from_hz: float, to_hz: float) -> Samples:
    """Samples at another rate, by soxr at its high quality.  Returns about N * to_hz / from_hz, at least one."""
    import soxr

    if from_hz == to_hz:
        return samples
    result: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ").astype(np.float32, copy=False)
    return result if len(result) else samples[:1]


def matched(clip: Clip, model: Clip) -> Samples:
    """A clip's samples at the rate and with the channels of another: one channel is repeated, more are mixed down first."""
    samples = clip.samples
    channels = model.samples.shape[1]
    if samples.shape[1] != channels:
        samples = np.repeat(samples.mean(axis=1, keepdims=True, dtype=np.float32), channels, axis=1)
    return resampled(samples, clip.rate_hz, model.rate_hz)


def power(samples: Samples) -> float:
    """Mean square."""
    return float(np.mean(np.square(samples, dtype=np.float64)))
