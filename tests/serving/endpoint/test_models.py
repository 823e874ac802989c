"""Which models the endpoint takes over."""

from datetime import timedelta
from pathlib import Path

import pytest
from serving.endpoint.served_world import T0, model_bytes, world

from pipeline_assets.serving.endpoint.models import Models
from resources.errors import ObjectError
from resources.objects.store import ObjectStore, content_key

pytestmark = pytest.mark.slow


def test_a_model_whose_weights_cannot_be_read_yet_is_taken_once_they_can(tmp_path: Path) -> None:
    made = world(tmp_path / "w")
    objects = ObjectStore.open(f"file://{made.folder}/lake/objects")
    models = Models(made.lake, objects, tmp_path)
    former = models.newest()
    assert former is not None and models.newer(former) is None
    sha256 = made.add_model(T0.date() + timedelta(days=1), seed=2)
    objects.delete(content_key(sha256))
    for _ in range(2):
        with pytest.raises(ObjectError):
            models.newer(former)
    objects.put_if_absent(model_bytes(2))
    newer = models.newer(former)
    assert newer is not None and newer.weights_sha256 == sha256
    assert models.newer(newer) is None
