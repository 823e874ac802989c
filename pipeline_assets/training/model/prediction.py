"""Predicts the popularity of photos: one function for a whole table and for one photo online.

Every pass of the net has one fixed shape, the last one padded with zeros: the rounding of a product of matrices depends on
their shape, so only then a photo's prediction does not depend on the number of others.
"""

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from pipeline_assets.errors import ModelUnusable, SchemaMismatch
from pipeline_assets.training.model import weights
from pipeline_assets.training.model.feature_matrix import NAMES, embeddings, features
from pipeline_assets.training.model.popularity_model import FORMAT
from pipeline_assets.training.model.popularity_net import PopularityNet

PASS_ROWS = 32
"""Rows of a pass. More are not much faster for a table, and cost one photo more."""


class Predictor:
    """A loaded model; `model_id` is the classifier whose embeddings it reads, `dim` their width."""

    def __init__(self, net: PopularityNet, model_id: str) -> None:
        self._net, self.model_id, self.dim = net, model_id, len(net.embedding_mean)

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
        batches = (rows.slice(start, batch_rows) for start in range(0, rows.height, batch_rows))
        parts = [self.popularity(embeddings(batch, self.dim), features(batch)) for batch in batches]
        prediction = np.concatenate(parts) if parts else np.empty(0, np.float32)
        return rows.select("photo_id", prediction=pl.Series(prediction, dtype=pl.Float32))

    @torch.inference_mode()
    def popularity(self, embedding: npt.NDArray[np.float32], values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Predictions (B,) for embeddings (B, dim) and feature rows (B, F) as of `feature_matrix.features`."""
        result = np.empty(len(embedding), np.float32)
        contents, inputs = torch.zeros(PASS_ROWS, self.dim), torch.zeros(PASS_ROWS, len(NAMES))
        for start in range(0, len(embedding), PASS_ROWS):
            count = min(PASS_ROWS, len(embedding) - start)
            contents.numpy()[:count] = embedding[start : start + count]
            inputs.numpy()[:count] = values[start : start + count]
            result[start : start + count] = self._net(contents, inputs).numpy()[:count]
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
