"""A small folder, as everybody begins with: the run ends well, and says what is too little for a model."""

import re
from itertools import islice
from pathlib import Path

import pytest

from pipeline_assets.sample.photos import sample_photos
from tests.variants.plain_project import Project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("photos", [0, 1, 12])
def test_a_run_over_a_few_photos_ends_well_and_says_what_is_too_little(tmp_path: Path, photos: int) -> None:
    project = Project(tmp_path, {"receipts": {"children": 0}})
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "notes.txt").write_text("no photo")
    small = (photo for photo in sample_photos() if re.search(r"-\d{4}\.jpg$", photo.name))
    for photo in islice(small, photos):
        (folder / photo.name).write_bytes(photo.data)

    first = project.command("run", "--photos", str(folder), "--days", "2")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "No model for the night of" in first.stdout
    assert ("splits go by user" if photos else "bring photos first") in first.stdout
    assert project.lake.scan("training_table").collect().height == photos
    assert project.lake.scan("popularity_model").collect().is_empty()

    again = project.invoke("run")
    assert again.exit_code == 0, again.output
    assert "Nothing has changed" in again.output
    assert "No model for the night of" in again.output
