"""Predicts the popularity of photos: one function for a whole table and for one photo online."""

import polars as pl
import torch

from pipeline_assets.errors import ModelUnusable, SchemaMismatch
from pipeline_assets.training.model import weights
from pipeline_assets.training.model.feature_matrix import NAMES, embeddings, features
from pipeline_assets.training.model.popularity_model import FORMAT
from pipeline_assets.training.model.popularity_net import PopularityNet


class Predictor:
    """A loaded model; `model_id` is the classifier whose embeddings it reads."""

    def __init__(self, net: PopularityNet, model_id: str) -> None:
        self._net, self.model_id = net, model_id

    @torch.no_grad()
    def predict(self, rows: pl.DataFrame, *, batch_rows: int = 8192) -> pl.DataFrame:
        """Columns photo_id and prediction (Float32, at least 0), one row a row of `rows`, in order.

        rows: the columns of TrainingTable that features come from; labels are not needed.
        Raises SchemaMismatch for another classifier's embeddings, or values that are not finite.
        """
        other_models = set(rows["model_id"].unique()) - {self.model_id}
        if other_models:
            raise SchemaMismatch(
                f"embeddings of {', '.join(sorted(other_models))}: this model reads those of {self.model_id}"
            )
        parts = [self._predict(rows.slice(start, batch_rows)) for start in range(0, rows.height, batch_rows)]
        prediction = torch.cat(parts) if parts else torch.empty(0)
        return rows.select("photo_id", prediction=pl.Series(prediction.numpy(), dtype=pl.Float32))

    def _predict(self, rows: pl.DataFrame) -> torch.Tensor:
        dim = len(self._net.embedding_mean)
        result: torch.Tensor = self._net(torch.from_numpy(embeddings(rows, dim)), torch.from_numpy(features(rows)))
        return result


def load(data: bytes) -> Predictor:
    """The model of `TrainedModel.weights`.  Raises ModelUnusable for other bytes."""
    tensors, metadata = weights.from_bytes(data)
    if metadata.get("format") != FORMAT:
        raise ModelUnusable(f"weights of format {metadata.get('format')}, not {FORMAT}: train the model again")
    if metadata.get("features") != ",".join(NAMES):
        raise ModelUnusable("the model was trained on other features than this code's: train it again")
    try:
        members, _, hidden = tensors["hidden_weight"].shape
        net = PopularityNet(len(tensors["embedding_mean"]), len(NAMES), hidden, members)
        net.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelUnusable(f"the weights are incomplete ({error}): fetch them again by their sha256") from error
    return Predictor(net.eval(), metadata["model_id"])
