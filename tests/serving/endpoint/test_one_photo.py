"""One photo alone equals the batch pipeline, to the bit; and what differs is found before anybody is answered."""

from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest
from serving.endpoint.served_world import model_bytes

from pipeline_assets.classify import fusion
from pipeline_assets.classify.models import load_classifier
from pipeline_assets.errors import BadImage, NoModelToServe, ServingUnsafe
from pipeline_assets.ingestion.media import limited
from pipeline_assets.sample.photos import COLOUR_PHOTOS, GREY_PHOTOS, sample_photos, shipped_file
from pipeline_assets.serving.endpoint import content, self_check
from pipeline_assets.serving.endpoint.content import PhotoReader
from pipeline_assets.serving.endpoint.scoring import ServedModel, interval
from pipeline_assets.training.model import prediction

pytestmark = pytest.mark.slow

PHOTOS = [shipped_file(name) for name in (*COLOUR_PHOTOS, *GREY_PHOTOS[:4])]


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    with limited.inspecting() as inspect:
        yield PhotoReader(load_classifier(), inspect)


def model(seed: int = 1, **facts: str) -> ServedModel:
    return ServedModel(date(2026, 1, 31), "0" * 64, "1" * 64, prediction.load(model_bytes(seed, **facts)), 0.5, 0.9)


def test_every_photo_of_any_kind_equals_the_batch_pipeline(reader: PhotoReader) -> None:
    assert reader._runner.rows == 1
    contents = self_check.check_content(reader, PHOTOS, "cpu", 64)
    self_check.check_model(model(), contents)
    assert len(contents) == len(PHOTOS)


def test_what_ingestion_quarantines_is_refused_with_the_same_verdict(reader: PhotoReader) -> None:
    for file in sample_photos(0):
        inspection = limited.inspect(file.data, "")
        if inspection.verdict == "ok":
            continue
        with pytest.raises(BadImage) as refused:
            reader.read(file.data)
        assert refused.value.reason == inspection.verdict


def test_a_network_that_scores_single_photos_otherwise_is_found(
    reader: PhotoReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion, "CPU_ROWS", 1)  # the last layer with one row, which rounds in another order
    with pytest.raises(ServingUnsafe, match="class"):
        self_check.check_content(reader, PHOTOS, "cpu", 64)


def test_a_measure_that_differs_is_found(reader: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = content.measure_styles
    monkeypatch.setattr(content, "measure_styles", lambda image, aspect: measure(np.flip(image, 0)[1:], aspect))
    with pytest.raises(ServingUnsafe, match="brightness"):
        self_check.check_content(reader, PHOTOS[:2], "cpu", 64)


def test_a_feature_that_differs_is_found(reader: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [reader.read(data) for data in PHOTOS[:2]]
    exact = self_check.feature_row
    monkeypatch.setattr(self_check, "feature_row", lambda values: np.nextafter(exact(values), np.float32(9)))
    with pytest.raises(ServingUnsafe, match="predicts another"):
        self_check.check_model(model(), contents)


def test_a_model_of_another_classifier_is_refused(reader: PhotoReader) -> None:
    with pytest.raises(NoModelToServe, match="another"):
        self_check.check_model(model(classifier="another"), [reader.read(PHOTOS[0])])


def test_an_interval_is_around_the_prediction_and_not_below_zero() -> None:
    assert interval(model(), 0.25) == {"low": 0.0, "high": 0.75, "coverage": 0.9, "measured_coverage": 0.9}
    assert interval(ServedModel(date(2026, 1, 1), "", "", prediction.load(model_bytes(1))), 1.0) is None
