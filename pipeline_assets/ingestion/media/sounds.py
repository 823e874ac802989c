"""Sound files: whether one decodes whole, and how long it is. Block by block, so that length costs no memory."""

import io
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import BadClip
from pipeline_assets.runtime.blobs import size_of

DECODED = frozenset(
    f"audio/{name}"
    for name in ("wav", "flac", "ogg", "mpeg", "aiff", "basic", "x-caf", "x-w64", "x-nist", "x-voc", "x-8svx")
)
"""Sound types that are read: those of libsndfile which their first bytes name."""
MAX_DURATION_S = 7_200.0
MIN_SAMPLES = 2**26
MAX_SAMPLES_PER_BYTE = 128
"""Beside MIN_SAMPLES, which are 25 minutes of 44,100 a second. Speech takes 50 a byte at most, silence up to 600."""
_BLOCK = 1 << 18


@dataclass(frozen=True)
class SoundFacts:
    """What a sound is."""

    duration_s: float
    sample_rate_hz: int
    channels: int


def facts(data: bytes | Path) -> SoundFacts:
    """Decode all of it, block by block. Raises BadClip: undecodable, truncated, too_long, too_costly, bad_samples."""
    import numpy as np
    import soundfile

    heard, size = 0, size_of(data)
    try:
        with (
            data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as source,
            soundfile.SoundFile(source) as file,
        ):
            rate, channels = file.samplerate, file.channels
            check_rate(rate, channels)
            while len(block := file.read(_BLOCK // channels, "float32")):
                if not np.isfinite(block).all():
                    raise BadClip("bad_samples", "some of its samples are not finite numbers: NaN, or beyond 32-bit floats")
                heard += len(block)
                check_samples(heard * channels, size)
                if heard / rate > MAX_DURATION_S:
                    raise BadClip("too_long", f"more than {MAX_DURATION_S:.0f} s, which is the most that is read")
    except soundfile.LibsndfileError as error:  # without its prefix, which has an address in memory
        raise BadClip("undecodable", f"the decoder says: {error.error_string:.200}") from error
    except (RuntimeError, OSError) as error:
        raise BadClip("undecodable", f"the decoder says: {error!s:.200}") from error
    if not heard:
        raise BadClip("truncated", "it holds no samples")
    return SoundFacts(heard / rate, rate, channels)


def check_rate(rate_hz: int, channels: int) -> None:
    """Raises BadClip (undecodable) for what no microphone and no studio records."""
    if not 1_000 <= rate_hz <= 384_000 or not 1 <= channels <= 8:
        raise BadClip("undecodable", f"{rate_hz} samples a second of {channels} channels")


def check_samples(samples: int, size_bytes: int) -> None:
    """Raises BadClip (too_costly) for more samples, of all channels, than a file of this size holds."""
    max_samples = MIN_SAMPLES + MAX_SAMPLES_PER_BYTE * size_bytes
    if samples > max_samples:
        raise BadClip("too_costly", f"more than {max_samples} samples in a file of {size_bytes} bytes")
