import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from pipeline_assets.training.model.feature_matrix import COLUMNS, FEATURES
from pipeline_assets.training.model.plots import feature_importance, prediction_against_truth


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    return image.convert("RGB")


def predictions(rows: int) -> pl.DataFrame:
    random = np.random.default_rng(rows)
    label = random.random(rows) * 6
    return pl.DataFrame({"photo_id": range(rows), "popularity": label, "prediction": label + random.normal(0, 1, rows)})


def importance(rows: int) -> pl.DataFrame:
    names = COLUMNS[:rows]
    sources = {feature.label: feature.source for feature in FEATURES}
    drops = [0.5 / (i + 1) - 0.05 for i in range(len(names))]
    columns = {"feature": names, "source": [sources[name] for name in names], "r2_drop": drops}
    return pl.DataFrame({**columns, "r2_drop_deviation": [0.02] * len(names)})


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2, 150, 20_000])
def test_predictions_of_any_number_are_drawn_600_pixels_wide(rows: int) -> None:
    image = opened(prediction_against_truth(predictions(rows), r2=0.5))
    assert image.width == 1200
    assert 800 <= image.height <= 1300
    colours = {colour for _, colour in image.getcolors(1 << 24)}
    assert (255, 255, 255) in colours
    assert len(colours) > 50


def test_equal_predictions_and_labels_are_drawn_too() -> None:
    flat = pl.DataFrame({"photo_id": [1, 2], "popularity": [0.0, 0.0], "prediction": [0.0, 0.0]})
    assert opened(prediction_against_truth(flat, r2=1.0)).width == 1200


@pytest.mark.slow
def test_the_same_predictions_give_the_same_picture() -> None:
    rows = predictions(5000)
    assert prediction_against_truth(rows, r2=0.5) == prediction_against_truth(rows, r2=0.5)


@pytest.mark.parametrize("rows", [1, 5, 19])
def test_importance_grows_with_its_bars_and_stops_at_fifteen(rows: int) -> None:
    image = opened(feature_importance(importance(rows)))
    assert image.width == 1200
    assert 52 * min(rows, 15) < image.height < 52 * min(rows, 15) + 450
