"""Sound files: whether one decodes whole, and how long it is. Block by block, so that length costs no memory."""

import io
from dataclasses import dataclass
from pathlib import Path

from pipeline_assets.errors import BadClip

DECODED = frozenset({"audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"})
"""Sound types that are read."""
MAX_DURATION_S = 7_200.0
_BLOCK = 1 << 18


@dataclass(frozen=True)
class SoundFacts:
    """What a sound is."""

    duration_s: float
    sample_rate_hz: int
    channels: int


def facts(data: bytes | Path) -> SoundFacts:
    """Decode all of it, block by block. Raises BadClip: undecodable, truncated, too_long."""
    import soundfile

    heard = 0
    try:
        with (
            data.open("rb") if isinstance(data, Path) else io.BytesIO(data) as source,
            soundfile.SoundFile(source) as file,
        ):
            rate, channels = file.samplerate, file.channels
            if not 1_000 <= rate <= 384_000 or not 1 <= channels <= 8:
                raise BadClip("undecodable", f"{rate} samples a second of {channels} channels")
            while block := len(file.read(_BLOCK // channels, "float32")):
                heard += block
                if heard / rate > MAX_DURATION_S:
                    raise BadClip("too_long", f"more than {MAX_DURATION_S:.0f} s, which is the most that is read")
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise BadClip("undecodable", f"the decoder says: {error!s:.200}") from error
    if not heard:
        raise BadClip("truncated", "it holds no samples")
    return SoundFacts(heard / rate, rate, channels)
