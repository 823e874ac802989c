"""The sample's sound and video: usable, small, each another, and the same every time."""

import hashlib

import numpy as np
import pytest

from pipeline_assets.ingestion.media.inspection import inspect
from pipeline_assets.sample.recordings import CLIP_PHOTOS, RATE_HZ, RECORDINGS, clips, recordings, voice


@pytest.mark.slow
def test_every_recording_and_clip_is_a_usable_upload() -> None:
    files = [*recordings(), *clips()]
    assert len({hashlib.sha256(file.data).digest() for file in files}) == RECORDINGS + len(CLIP_PHOTOS)
    for file in files:
        found = inspect(file.data, file.name)
        assert (found.verdict, found.verdict_detail) == ("ok", None), file.name
        assert 0.9 < (found.duration_s or 0) < 2.3, file.name
        assert len(file.data) < 300_000, file.name


def test_segments_are_where_the_voice_is_heard() -> None:
    for seed in range(4):
        sound, said = voice(2.0, seed)
        spoken = np.zeros(len(sound), dtype=bool)
        for one in said:
            spoken[round(one["start_s"] * RATE_HZ) : round(one["end_s"] * RATE_HZ)] = True
        assert len(said) > 3
        assert np.square(sound[spoken]).sum() > 0.999 * np.square(sound).sum()
        assert 0.2 < spoken.mean() < 0.9


@pytest.mark.slow
def test_they_are_the_same_every_time() -> None:
    assert [file.data for file in recordings()] == [file.data for file in recordings()]
    assert [file.data for file in clips()] == [file.data for file in clips()]
