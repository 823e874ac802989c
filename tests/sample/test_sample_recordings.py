"""The sample's sound and video: usable, small, each another, and the same every time."""

import hashlib

from pipeline_assets.ingestion.inspection import inspect
from pipeline_assets.sample.recordings import CLIP_PHOTOS, RECORDINGS, clips, recordings


def test_every_recording_and_clip_is_a_usable_upload() -> None:
    files = [*recordings(), *clips()]
    assert len({hashlib.sha256(file.data).digest() for file in files}) == RECORDINGS + len(CLIP_PHOTOS)
    for file in files:
        found = inspect(file.data, file.name)
        assert (found.verdict, found.verdict_detail) == ("ok", None), file.name
        assert 0.9 < (found.duration_s or 0) < 2.3, file.name
        assert len(file.data) < 300_000, file.name


def test_they_are_the_same_every_time() -> None:
    assert [file.data for file in recordings()] == [file.data for file in recordings()]
    assert [file.data for file in clips()] == [file.data for file in clips()]
