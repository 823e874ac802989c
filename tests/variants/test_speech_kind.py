"""Speech variants from bytes to bytes: the same task gives the same bytes, and a bad file harms nobody else."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline_assets.errors import UnfitParent
from pipeline_assets.labeling import segments
from pipeline_assets.variants.kinds import Made, Parent, Task, Work
from pipeline_assets.variants.recipes import Recipe, seed_of, variant_id
from pipeline_assets.variants.speech import COLUMNS, KIND, sound

RATE_HZ = 16_000
SPEECH = Path(__file__).parents[3] / "shared" / "speech"


def tones(seed: int = 0, seconds: float = 1.0, channels: int = 1, rate_hz: int = RATE_HZ) -> np.ndarray:
    random = np.random.default_rng(seed)
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    swell = np.sin(np.pi * at * random.uniform(2, 5)) ** 2
    wave = 0.4 * swell * np.sin(2 * np.pi * random.uniform(200, 600) * at)
    return np.repeat(wave[:, None], channels, axis=1)


def encoded(samples: np.ndarray, file_format: str = "WAV", subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    out = io.BytesIO()
    sf.write(out, samples, rate_hz, format=file_format, subtype=subtype)
    return out.getvalue()


def parent(data: bytes, labels: dict | None = None) -> Parent:
    return Parent(hashlib.sha256(data).hexdigest(), data, labels or {})


def work_of(recipe: Recipe, *parents: Parent, run_seed: int = 0) -> Work:
    resolved = KIND.complete(recipe)
    used = parents[: KIND.operations.parents(resolved)]
    ids = tuple(one.sha256 for one in used)
    seed = seed_of(ids, resolved, run_seed)
    return Task(variant_id(ids, resolved, seed), ids, resolved, seed), used


def made(recipe: Recipe, *parents: Parent) -> Made:
    ((_, found),) = KIND.make([work_of(recipe, *parents)])
    if isinstance(found, UnfitParent):
        raise found
    return found


WORD = {"segments": [{"start_s": 0.2, "end_s": 0.5, "text": "la", "speaker": 7}], "language": "x"}
PARENTS = [parent(encoded(tones(seed, channels=1 + seed % 2)), WORD) for seed in range(3)]
WORK = [work_of(recipe, one, PARENTS[0]) for one in PARENTS[1:] for recipe in KIND.recipes.values()]
ALONE = {task.variant_id: made_.data for task, made_ in (next(iter(KIND.make([one]))) for one in WORK)}


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(WORK), threads=st.integers(1, 4))
def test_the_same_task_gives_the_same_bytes_in_any_order_and_on_any_thread(order, threads):
    parts = [order[n::threads] for n in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(lambda part: list(KIND.make(part)), parts):
            assert all(ALONE[task.variant_id] == outcome.data for task, outcome in found)


@pytest.mark.parametrize("name", list(KIND.recipes))
def test_every_ready_made_recipe_gives_a_flac_with_true_labels(name):
    found = made(KIND.recipes[name], PARENTS[1], PARENTS[2])
    assert (found.media_type, found.encoding) == ("audio/flac", "flac, 16 bits, lossless")
    info = sf.info(io.BytesIO(found.data))
    assert info.frames / info.samplerate == found.columns["duration_s"]
    assert (info.samplerate, info.channels) == (found.columns["sample_rate_hz"], found.columns["channels"])
    assert set(found.columns) == set(COLUMNS.column_names())
    assert not KIND.problems(found)
    first = found.labels["segments"][0]
    assert (first["text"], first["speaker"], found.labels["language"]) == ("la", 7, "x")


def test_flac_and_wav_hold_the_same_samples():
    wav, flac = (made(Recipe("gain", db=-3).then(Recipe(end)), PARENTS[0]) for end in ("wav", "flac"))
    assert (sf.read(io.BytesIO(wav.data))[0] == sf.read(io.BytesIO(flac.data))[0]).all()
    assert wav.media_type == "audio/wav"


def test_what_is_louder_than_full_scale_is_scaled_down_not_clipped():
    samples = sf.read(io.BytesIO(made(Recipe("gain", db=40), PARENTS[0]).data))[0]
    before = tones(0)[:, 0]
    assert samples == pytest.approx(before / np.abs(before).max(), abs=1e-3)


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("FLAC", "PCM_16"),
        ("MP3", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_is_read(file_format, subtype, channels):
    found = made(Recipe("gain", db=-6), parent(encoded(tones(1, channels=channels), file_format, subtype)))
    assert found.columns["channels"] == channels
    assert found.columns["duration_s"] == pytest.approx(1.0, abs=0.1)


def test_a_file_on_disk_gives_the_bytes_that_its_bytes_give(tmp_path):
    path = tmp_path / "clip.wav"
    path.write_bytes(PARENTS[0].data)
    on_disk = Parent(PARENTS[0].sha256, path, PARENTS[0].labels)
    recipe = KIND.recipes["far_speaker"]
    assert made(recipe, on_disk).data == made(recipe, PARENTS[0]).data


WHOLE = encoded(tones(1))
BAD = {
    "nothing": (b"", "undecodable"),
    "noise": (bytes(range(256)) * 8, "undecodable"),
    "text": (b"RIFF of a song", "undecodable"),
    "header only": (WHOLE[:40], "undecodable"),
    "no samples": (encoded(np.zeros((0, 1))), "empty"),
    "not numbers": (encoded(np.full((800, 1), np.nan), subtype="FLOAT"), "undecodable"),
    "infinite": (encoded(np.full((800, 1), np.inf), subtype="FLOAT"), "undecodable"),
    "far too loud": (encoded(np.full((800, 1), 1e30), subtype="FLOAT"), "undecodable"),
    "many channels": (encoded(np.zeros((10, 24)) + 0.1), "unsupported"),
    "slow": (encoded(tones(1), rate_hz=100), "unsupported"),
    "fast": (encoded(tones(1), rate_hz=1_000_000), "unsupported"),
    "flac cut in its header": (encoded(tones(1), "FLAC")[:30], "undecodable"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_bad_file_has_a_reason(name):
    data, reason = BAD[name]
    with pytest.raises(UnfitParent) as unfit:
        made(Recipe("gain"), parent(data))
    assert unfit.value.reason == reason


def test_a_bad_file_harms_none_of_its_neighbours():
    bad = [parent(data) for data, _ in BAD.values()]
    work = [work_of(KIND.recipes["noise"], one) for one in (PARENTS[0], *bad, PARENTS[1], *bad)]
    found = list(KIND.make(work))
    assert [isinstance(outcome, Made) for _, outcome in found] == [True, *[False] * len(bad), True, *[False] * len(bad)]


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255), keep=st.floats(0, 1), is_flac=st.booleans())
def test_damaged_files_give_a_variant_or_a_reason(at, value, keep, is_flac):
    data = bytearray(encoded(tones(1), "FLAC") if is_flac else WHOLE)
    data[at % len(data)] = value
    ((_, found),) = KIND.make([work_of(Recipe("gain"), parent(bytes(data[: int(len(data) * keep)])))])
    assert isinstance(found, Made | UnfitParent)


@pytest.mark.parametrize(("limit", "reason"), [({"max_samples": 15_999}, "too_long"), ({"max_bytes": 100}, "too_long")])
def test_a_clip_beyond_the_limits_is_not_read(limit, reason):
    with pytest.raises(UnfitParent, match=reason):
        sound.read(WHOLE, sound.Limits(**limit))
    assert len(sound.read(WHOLE, sound.Limits(max_samples=16_000)).samples) == 16_000


def test_an_mp3_is_read_no_further_than_the_limit():
    with pytest.raises(UnfitParent, match="too_long"):
        sound.read(encoded(tones(1, seconds=3), "MP3"), sound.Limits(max_samples=20_000))


def test_a_variant_that_would_sound_as_its_parent_is_none():
    with pytest.raises(UnfitParent, match="unchanged"):
        made(Recipe("gain", db=0.0), PARENTS[0])


@pytest.mark.parametrize(
    "labels",
    [
        {"segments": [{"start_s": 0.5, "end_s": 0.2}]},
        {"segments": [{"start_s": 0.5, "end_s": 9.0}]},
        {"segments": [{"start_s": -0.1, "end_s": 0.2}]},
        {"segments": [{"start_s": float("nan"), "end_s": 0.2}]},
        {"segments": [{"start_s": "0", "end_s": "1"}]},
        {"segments": [{"text": "a"}]},
        {"segments": ["a"]},
        {"segments": 3},
    ],
)
def test_labels_that_are_not_true_of_the_parent_are_refused(labels):
    with pytest.raises(UnfitParent, match="bad_labels"):
        made(Recipe("gain"), parent(WHOLE, labels))


def test_problems_name_segments_outside_the_clip():
    found = Made(b"", "", "", {"segments": [{"start_s": 0.0, "end_s": 2.0, "text": "a"}]}, {"duration_s": 1.0})
    assert KIND.problems(found) == ["segment 0 is from 0.000 s to 2.000 s, in a clip of 1.000 s"]


def test_segments_of_clips_without_labels_stay_away():
    assert made(Recipe("gain"), parent(WHOLE)).labels == {}
    assert segments.as_labels({"segments": []}, ()) == {"segments": []}


def test_the_contact_sheet_is_a_picture_with_a_row_for_each_parent():
    shown = []
    for one in PARENTS[:2]:
        found = KIND.make([work_of(KIND.recipes[name], one, PARENTS[2]) for name in ("speed", "pause", "mix")])
        shown.append((one, [(task, outcome) for task, outcome in found if isinstance(outcome, Made)]))
    picture = Image.open(io.BytesIO(KIND.contact_sheet(shown)))
    assert picture.format == "PNG"
    assert picture.width > 4 * 200
    assert picture.height > 2 * 150
    assert KIND.contact_sheet([])


@pytest.mark.skipif(not SPEECH.is_dir(), reason="the recordings of spoken digits lie beside the project, not in it")
def test_recordings_of_digits_give_variants():
    files = [parent(path.read_bytes()) for path in sorted(SPEECH.glob("*.wav"))[:6]]
    work = [work_of(recipe, one, files[0]) for one in files[1:] for recipe in KIND.recipes.values()]
    assert all(isinstance(outcome, Made) for _, outcome in KIND.make(work))
