"""What each operation on speech does to samples and to the times of what is said."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_assets.errors import BadRecipe, UnfitParent
from pipeline_assets.variants.recipes import Recipe, generator
from pipeline_assets.variants.speech import KIND, pauses, sound
from pipeline_assets.variants.speech.catalogue import SPEECH
from pipeline_assets.variants.speech.sound import Clip

RATE_HZ = 8_000


def bursts(*spans: tuple[float, float], duration_s: float = 2.0, rate_hz: int = RATE_HZ, channels: int = 1) -> Clip:
    """Tones of 440 Hz between the given seconds, silence elsewhere, with a segment for each."""
    samples = np.zeros((round(duration_s * rate_hz), channels), np.float32)
    for start, end in spans:
        at = np.arange(round(start * rate_hz), round(end * rate_hz))
        samples[at] = 0.5 * np.sin(2 * np.pi * 440 * at / rate_hz)[:, None]
    segments = tuple({"start_s": start, "end_s": end, "text": f"w{n}"} for n, (start, end) in enumerate(spans))
    return Clip(samples, rate_hz, segments)


def heard(clip: Clip) -> list[tuple[float, float]]:
    """From when to when the clip is loud, gaps of less than 10 ms closed."""
    loud = np.flatnonzero(np.abs(clip.samples).max(axis=1) > 0.1)
    ends = np.flatnonzero(np.diff(loud) > 0.01 * clip.rate_hz)
    firsts, lasts = np.r_[loud[0], loud[ends + 1]], np.r_[loud[ends], loud[-1]]
    return [(float(a) / clip.rate_hz, float(b) / clip.rate_hz) for a, b in zip(firsts, lasts, strict=True)]


def told(clip: Clip) -> list[tuple[float, float]]:
    return [(segment["start_s"], segment["end_s"]) for segment in clip.segments]


def do(name: str, clip: Clip, *others: Clip, seed: int = 1, **parameters: object) -> Clip:
    (step,) = SPEECH.resolve(Recipe(name, **parameters)).steps
    made: Clip = SPEECH[name].function(clip, generator(seed, name), *others, **dict(step.parameters))
    return made


WORDS = ((0.2, 0.5), (0.8, 1.1), (1.4, 1.8))


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance_s"),
    [
        ("speed", {"factor": 0.5}, 0.003),
        ("speed", {"factor": 1.1}, 0.003),
        ("speed", {"factor": 2}, 0.003),
        ("tempo", {"factor": 0.7}, 0.04),
        ("tempo", {"factor": 1.4}, 0.04),
        ("pitch", {"semitones": 3}, 0.04),
        ("pause", {"duration_s": 0.3}, 0.003),
        ("pause", {"duration_s": 0.1, "count": 3, "fill": "silence"}, 0.003),
        ("noise", {"snr_db": 30}, 0.003),
        ("gain", {"db": -6}, 0.003),
    ],
)
def test_segments_are_where_the_words_are_heard(name, parameters, tolerance_s):
    clip = do(name, bursts(*WORDS), **parameters)
    assert np.array(told(clip)) == pytest.approx(np.array(heard(clip)), abs=tolerance_s)
    assert [segment["text"] for segment in clip.segments] == ["w0", "w1", "w2"]


@pytest.mark.parametrize(("factor", "tolerance_s"), [(0.5, 0.035), (0.85, 0.01), (1.15, 0.01), (2.0, 0.035)])
@pytest.mark.parametrize("seed", range(4))
def test_tempo_keeps_the_times_that_its_text_promises_down_to_20_db(factor, tolerance_s, seed):
    clip = do("tempo", bursts(*WORDS), seed=seed, factor=factor)
    loud = np.flatnonzero(np.abs(clip.samples).max(axis=1) > 0.05)
    ends = np.flatnonzero(np.diff(loud) > 0.03 * clip.rate_hz)
    heard_s = np.stack([np.r_[loud[0], loud[ends + 1]], np.r_[loud[ends], loud[-1]]], axis=1) / clip.rate_hz
    assert np.array(told(clip)) == pytest.approx(heard_s, abs=tolerance_s)


@settings(max_examples=30, deadline=None)
@given(
    starts=st.lists(st.integers(0, 18), min_size=1, max_size=4, unique=True),
    factor=st.floats(0.5, 2),
    pause_s=st.floats(0.05, 0.5),
    seed=st.integers(0, 2**31),
)
def test_segments_follow_speed_and_pauses_together(starts, factor, pause_s, seed):
    clip = bursts(*((at / 10 + 0.1, at / 10 + 0.15) for at in sorted(starts)), duration_s=2.2)
    clip = do("pause", do("speed", clip, factor=factor), seed=seed, duration_s=pause_s)
    assert np.array(told(clip)) == pytest.approx(np.array(heard(clip)), abs=0.005)
    assert clip.duration_s == pytest.approx(2.2 / factor + pause_s, abs=0.001)


def test_speed_moves_the_pitch_and_tempo_does_not():
    def tone_hz(clip: Clip) -> float:
        spectrum = np.abs(np.fft.rfft(clip.samples[1000:-1000, 0] * np.hanning(len(clip.samples) - 2000)))
        return float(np.argmax(spectrum)) * clip.rate_hz / (len(clip.samples) - 2000)

    tone = bursts((0, 2))
    assert tone_hz(do("speed", tone, factor=1.25)) == pytest.approx(550, abs=2)
    assert tone_hz(do("tempo", tone, factor=1.25)) == pytest.approx(440, abs=4)
    assert tone_hz(do("pitch", tone, semitones=12)) == pytest.approx(880, abs=8)


def test_a_pause_is_as_long_as_asked_and_lies_between_the_words():
    clip = do("pause", bursts(*WORDS), duration_s=0.25, fill="silence")
    assert clip.duration_s == 2.25
    lengths = [end - start for start, end in told(clip)]
    assert lengths == pytest.approx([0.3, 0.3, 0.4])


def test_a_pause_within_a_segment_makes_it_longer():
    clip = Clip(np.ones((8_000, 1), np.float32), RATE_HZ, ({"start_s": 0.0, "end_s": 1.0, "text": "all"},))
    assert told(do("pause", clip, duration_s=0.5)) == [(0.0, 1.5)]


@pytest.mark.parametrize("duration_s", [0.05, 0.3, 0.49])
def test_a_clip_shorter_than_its_pause_is_unfit(duration_s):
    with pytest.raises(UnfitParent, match="too_short"):
        do("pause", bursts((0, 0.02), duration_s=duration_s), duration_s=0.5)


def test_a_clip_without_room_for_its_pauses_is_unfit():
    with pytest.raises(UnfitParent, match="too_short"):
        do("pause", bursts((0, 0.1), duration_s=0.3), duration_s=0.01, count=20, margin_s=0.1)


def test_quiet_places_keep_their_margin_and_are_quiet():
    clip = bursts((0.5, 1.0))
    places = pauses.quiet_places(clip, 0.1)
    assert places.min() >= 0.1 * RATE_HZ
    assert places.max() <= 1.9 * RATE_HZ
    assert np.abs(clip.samples[places]).max() == 0


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_has_the_ratio_that_was_asked(colour, snr_db):
    clip = bursts(*WORDS)
    added = do("noise", clip, snr_db=snr_db, colour=colour).samples - clip.samples
    assert 10 * math.log10(sound.power(clip.samples) / sound.power(added)) == pytest.approx(snr_db, abs=0.05)


def test_pink_noise_has_the_same_power_in_each_octave_and_white_twice_as_much():
    def octaves(colour: str) -> np.ndarray:
        clip = bursts((0, 60), duration_s=60)
        added = (do("noise", clip, snr_db=0, colour=colour).samples - clip.samples)[:, 0]
        power = np.square(np.abs(np.fft.rfft(added)))
        return np.array([power[low * 60 : 2 * low * 60].sum() for low in (125, 250, 500, 1000)])

    assert octaves("pink")[1:] / octaves("pink")[:-1] == pytest.approx(1, rel=0.1)
    assert octaves("white")[1:] / octaves("white")[:-1] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("name", ["noise", "mix"])
def test_silence_has_no_signal_to_noise_ratio(name):
    silence = Clip(np.zeros((800, 1), np.float32), RATE_HZ)
    with pytest.raises(UnfitParent, match="silent"):
        do(name, silence, *([bursts((0, 1))] if name == "mix" else []))


def test_a_room_keeps_length_and_loudness_and_adds_a_tail():
    clip = bursts((0.2, 0.5))
    wet = do("room", clip, rt60_s=0.8, direct_db=0)
    assert wet.samples.shape == clip.samples.shape
    assert sound.power(wet.samples) == pytest.approx(sound.power(clip.samples), rel=1e-4)
    tail = wet.samples[round(0.52 * RATE_HZ) : round(0.9 * RATE_HZ)]
    assert sound.power(tail) > 1e-4
    assert wet.segments == clip.segments


def test_gain_is_in_decibels():
    clip = bursts((0, 1))
    assert do("gain", clip, db=-20).samples == pytest.approx(clip.samples / 10)


def test_concatenating_moves_the_second_clips_segments_behind_the_gap():
    second = bursts((0.5, 1.0), rate_hz=16_000, channels=2)
    clip = do("concatenate", bursts(*WORDS), second, gap_s=0.25)
    assert (clip.rate_hz, clip.samples.shape[1]) == (RATE_HZ, 1)
    assert told(clip) == [*WORDS, (2.75, 3.25)]
    assert np.array(heard(clip)) == pytest.approx(np.array(told(clip)), abs=0.003)


def test_mixing_holds_both_whole_at_the_ratio_asked():
    first, second = bursts(*WORDS, duration_s=3), bursts((0.0, 0.4), duration_s=0.5)
    clip = do("mix", first, second, snr_db=6, seed=3)
    added = clip.samples - first.samples
    start = clip.segments[[s["text"] for s in clip.segments].index("w0", 1) if told(clip)[0] == WORDS[0] else 0]["start_s"]
    part = added[round(start * RATE_HZ) : round((start + 0.5) * RATE_HZ)]
    assert 10 * math.log10(sound.power(first.samples) / sound.power(part)) == pytest.approx(6, abs=0.05)
    assert told(do("mix", first, second, label="first")) == list(WORDS)


def test_mixing_in_a_longer_clip_makes_the_clip_longer():
    clip = do("mix", bursts((0, 1), duration_s=1), bursts((2, 3), duration_s=3))
    assert clip.duration_s == 3
    assert told(clip) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe("louder"),
        Recipe("speed", factor=3),
        Recipe("speed", factor=(1.2, 0.8)),
        Recipe("speed", factor="fast"),
        Recipe("speed", rate=2),
        Recipe("pause", count=0),
        Recipe("noise", snr_db=100),
        Recipe("noise", colour="brown"),
        Recipe("flac"),
        Recipe("flac").then(Recipe("gain")),
        Recipe("gain").then(Recipe("flac"), Recipe("wav")),
        Recipe("gain").then(Recipe("flac", bits=8)),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(recipe):
    with pytest.raises(BadRecipe):
        KIND.complete(recipe)


def test_complete_adds_the_encoding_once():
    recipe = KIND.complete(Recipe("gain", db=-3))
    assert recipe.name == "gain + flac"
    assert KIND.complete(recipe) == recipe
