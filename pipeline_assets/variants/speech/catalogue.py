"""The operations on speech: what each step of a recipe does to a clip and to the times of its words.

`operation(clip, random, *other, *, parameters)` returns a clip; an encoding returns bytes. A parameter that is a pair of
numbers is sampled between them. Samples are float32; nothing is clipped or rounded before the encoding.
"""

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import segments
from pipeline_assets.variants.operations import Operations, ascending, drawn
from pipeline_assets.variants.speech import pauses, sound
from pipeline_assets.variants.speech.sound import Clip, Samples

ENCODINGS = {"flac": "audio/flac", "wav": "audio/wav"}
"""The steps that end a recipe, and what their bytes are."""

Random = np.random.Generator
Factor = Annotated[float, Field(ge=0.5, le=2)]
Factors = Factor | Annotated[tuple[Factor, Factor], AfterValidator(ascending)]
Decibels = Annotated[float, Field(ge=-60, le=60)]
Levels = Decibels | Annotated[tuple[Decibels, Decibels], AfterValidator(ascending)]
Semitones = Annotated[float, Field(ge=-12, le=12)]
Pitches = Semitones | Annotated[tuple[Semitones, Semitones], AfterValidator(ascending)]
Length = Annotated[float, Field(ge=0.01, le=10)]
Lengths = Length | Annotated[tuple[Length, Length], AfterValidator(ascending)]
Reverberation = Annotated[float, Field(ge=0.05, le=3)]
Reverberations = Reverberation | Annotated[tuple[Reverberation, Reverberation], AfterValidator(ascending)]
Gap = Annotated[float, Field(ge=0, le=10)]
Gaps = Gap | Annotated[tuple[Gap, Gap], AfterValidator(ascending)]
Bits = Literal[16, 24]

SPEECH = Operations("speech")
FADE_S = 0.005


@SPEECH.operation()
def speed(clip: Clip, random: Random, *, factor: Factors = (0.9, 1.1)) -> Clip:
    """Play it faster or slower; the pitch changes too."""
    by = drawn(factor, random)
    return clip.with_(sound.resampled(clip.samples, clip.rate_hz * by, clip.rate_hz), segments.faster(clip.segments, by))


@SPEECH.operation()
def tempo(clip: Clip, random: Random, *, factor: Factors = (0.85, 1.15)) -> Clip:
    """Speak faster or slower: the pitch stays.

    The analysis blurs beginnings and ends: for sounds within 20 dB of the loudest, times are correct within 10 ms at
    factors from 0.85 to 1.15, and within 35 ms at 0.5 and 2.
    """
    by = drawn(factor, random)
    return clip.with_(_stretched(clip, random, by, 0.0), segments.faster(clip.segments, by))


@SPEECH.operation()
def pitch(clip: Clip, random: Random, *, semitones: Pitches = (-2.0, 2.0)) -> Clip:
    """Speak higher or lower: the tempo stays."""
    return clip.with_(_stretched(clip, random, 1.0, drawn(semitones, random)))


@SPEECH.operation()
def pause(
    clip: Clip,
    random: Random,
    *,
    duration_s: Lengths = (0.1, 0.4),
    count: Annotated[int, Field(ge=1, le=20)] = 1,
    fill: Literal["noise_floor", "silence"] = "noise_floor",
    margin_s: Annotated[float, Field(ge=0, le=5)] = 0.05,
) -> Clip:
    """Insert pauses at quiet places, between segments where there are gaps, as quiet as the clip's quietest moment."""
    lengths = [drawn(duration_s, random) for _ in range(count)]
    if clip.duration_s < sum(lengths):
        raise UnfitParent("too_short", f"the clip lasts {clip.duration_s:.2f} s, the pauses {sum(lengths):.2f} s")
    distance = round(2 * pauses.WINDOW_S * clip.rate_hz)
    places = pauses.choose(pauses.quiet_places(clip, margin_s), count, distance, random)
    if len(places) < count:
        raise UnfitParent("too_short", f"there is room for {len(places)} of {count} pauses {margin_s} s from the ends")
    level = pauses.noise_floor(clip) if fill == "noise_floor" else 0.0
    for place, length in zip(reversed(places), lengths, strict=True):
        clip = _with_pause(clip, place, round(length * clip.rate_hz), level, random)
    return clip


@SPEECH.operation()
def noise(clip: Clip, random: Random, *, snr_db: Levels = (10.0, 30.0), colour: Literal["white", "pink"] = "white") -> Clip:
    """Add noise at a signal-to-noise ratio: the powers of the whole clip and of the noise."""
    level = drawn(snr_db, random)
    added = random.standard_normal(clip.samples.shape, dtype=np.float32)
    if colour == "pink":
        added = _pink(added)
    return clip.with_(clip.samples + added * _amplitude(clip.samples, added, level))


@SPEECH.operation()
def gain(clip: Clip, random: Random, *, db: Levels = (-12.0, -3.0)) -> Clip:
    """Make it louder or quieter. A clip above full scale is scaled down when it is encoded."""
    return clip.with_(clip.samples * np.float32(10 ** (drawn(db, random) / 20)))


@SPEECH.operation()
def room(clip: Clip, random: Random, *, rt60_s: Reverberations = (0.2, 0.6), direct_db: Levels = (0.0, 10.0)) -> Clip:
    """Add a room's reverberation: a synthetic impulse response that decays by 60 dB in `rt60_s`. Length and loudness stay.

    direct_db: level of the direct sound over that of all its echoes.
    """
    seconds, direct = drawn(rt60_s, random), drawn(direct_db, random)
    response = _impulse_response(seconds, direct, clip.rate_hz, random)
    wet = _convolved(clip.samples, response)
    before, after = sound.power(clip.samples), sound.power(wet)
    return clip.with_(wet * np.float32(math.sqrt(before / after)) if after > 0 else wet)


@SPEECH.operation(parents=2)
def concatenate(clip: Clip, random: Random, other: Clip, *, gap_s: Gaps = 0.2) -> Clip:
    """Play another clip after this one, at this one's rate and channels, after a silence."""
    gap = round(drawn(gap_s, random) * clip.rate_hz)
    silence = np.zeros((gap, clip.samples.shape[1]), np.float32)
    samples = np.concatenate([clip.samples, silence, sound.matched(other, clip)])
    moved = segments.shifted(other.segments, (len(clip.samples) + gap) / clip.rate_hz)
    return clip.with_(samples, segments.merged(clip.segments, moved))


@SPEECH.operation(parents=2)
def mix(
    clip: Clip,
    random: Random,
    other: Clip,
    *,
    snr_db: Levels = (0.0, 15.0),
    label: Literal["both", "first"] = "both",
) -> Clip:
    """Play another clip at the same time, from a random moment on, both whole. label: the clip whose segments are kept."""
    level = drawn(snr_db, random)
    second = sound.matched(other, clip)
    second = second * _amplitude(clip.samples, second, level)
    start = int(random.integers(0, max(len(clip.samples) - len(second), 0) + 1))
    samples = np.zeros((max(len(clip.samples), start + len(second)), clip.samples.shape[1]), np.float32)
    samples[: len(clip.samples)] = clip.samples
    samples[start : start + len(second)] += second
    other_segments = segments.shifted(other.segments, start / clip.rate_hz) if label == "both" else ()
    return clip.with_(samples, segments.merged(clip.segments, other_segments))


@SPEECH.operation()
def flac(clip: Clip, random: Random, *, bits: Bits = 16) -> bytes:
    """Write it as FLAC, lossless."""
    return sound.encode(clip, "FLAC", bits)


@SPEECH.operation()
def wav(clip: Clip, random: Random, *, bits: Bits = 16) -> bytes:
    """Write it as WAV, lossless."""
    return sound.encode(clip, "WAV", bits)


def _stretched(clip: Clip, random: Random, factor: float, semitones: float) -> Samples:
    """Stretch with the Signalsmith stretcher, its phases drawn from this variant's randomness."""
    import python_stretch

    stretch = python_stretch.Signalsmith.Stretch(int(random.integers(1, 2**31)))
    stretch.preset(clip.samples.shape[1], clip.rate_hz)
    stretch.timeFactor = factor
    if semitones:
        stretch.setTransposeSemitones(semitones)
    stretched: Any = stretch.process(np.ascontiguousarray(clip.samples.T))
    result = np.ascontiguousarray(stretched.T, np.float32)
    if not len(result):
        raise UnfitParent("too_short", f"{clip.duration_s:.3f} s can't be stretched")
    return result


def _with_pause(clip: Clip, place: int, length: int, level: float, random: Random) -> Clip:
    """The clip with a pause of white noise; the sound on either side is faded over a few milliseconds."""
    before, after = clip.samples[:place].copy(), clip.samples[place:].copy()
    fade = min(round(FADE_S * clip.rate_hz), len(before), len(after))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    before[len(before) - fade :] *= ramp[::-1]
    after[:fade] *= ramp
    gap = random.standard_normal((length, clip.samples.shape[1]), dtype=np.float32) * np.float32(level)
    moved = segments.with_gap(clip.segments, place / clip.rate_hz, length / clip.rate_hz)
    return clip.with_(np.concatenate([before, gap, after]), moved)


def _amplitude(signal: Samples, added: Samples, snr_db: float) -> np.float32:
    """The factor for `added` that gives the ratio of powers."""
    signal_power, added_power = sound.power(signal), sound.power(added)
    if not signal_power or not added_power:
        raise UnfitParent("silent", "a clip of silence has no signal-to-noise ratio")
    return np.float32(math.sqrt(signal_power / added_power / 10 ** (snr_db / 10)))


def _pink(white: Samples) -> Samples:
    """White noise filtered to a power of 1/f, above about 20 periods in the clip. Its mean is 0."""
    from scipy import fft

    count = len(white)
    padded = fft.next_fast_len(count, real=True)
    spectrum = fft.rfft(white, padded, axis=0)
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum), dtype=np.float32))[:, None]
    return np.ascontiguousarray(fft.irfft(spectrum, padded, axis=0)[:count], np.float32)


def _impulse_response(rt60_s: float, direct_db: float, rate_hz: int, random: Random) -> Samples:
    """A direct sound of 1 and, after 2 to 8 ms, noise that decays by 60 dB in `rt60_s`. (M,) float32."""
    delay = round(float(random.uniform(0.002, 0.008)) * rate_hz)
    count = max(1, round(rt60_s * rate_hz))
    tail = random.standard_normal(count) * np.power(10.0, -3 * np.arange(count) / count)
    response = np.zeros(delay + count, np.float64)
    response[delay:] = tail * math.sqrt(1 / (10 ** (direct_db / 10) * float(np.square(tail).sum())))
    response[0] = 1
    return response.astype(np.float32)


def _convolved(samples: Samples, response: Samples) -> Samples:
    """Each channel convolved, cut to its length."""
    from scipy import fft

    padded = fft.next_fast_len(len(samples) + len(response) - 1, real=True)
    spectrum = fft.rfft(samples, padded, axis=0) * fft.rfft(response, padded)[:, None]
    return np.ascontiguousarray(fft.irfft(spectrum, padded, axis=0)[: len(samples)], np.float32)
