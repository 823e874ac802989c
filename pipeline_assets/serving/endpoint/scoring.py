"""From a photo's content, a posting and a user's features to a prediction with its interval. Pure arithmetic."""

from dataclasses import dataclass
from datetime import date

from pipeline_assets.errors import NoModelToServe
from pipeline_assets.serving.endpoint.asks import Ask
from pipeline_assets.serving.endpoint.content import Content
from pipeline_assets.training.model.feature_matrix import COLUMNS
from pipeline_assets.training.model.feature_row import feature_row
from pipeline_assets.training.model.intervals import COVERAGE
from pipeline_assets.training.model.prediction import Predictor


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A popularity model ready to predict. half_width, coverage: of `PopularityModel`, None if it has none."""

    night: date
    weights_sha256: str
    pin_identity: str
    predictor: Predictor
    half_width: float | None = None
    coverage: float | None = None

    def about(self) -> dict[str, str]:
        """What an answer says of its model."""
        return {"sha256": self.weights_sha256, "pin": self.pin_identity, "night": str(self.night)}


def columns_of(ask: Ask, content: Content, user: dict[str, float | None]) -> dict[str, float | None]:
    """The columns of the training table that the model reads, as they would be for this posting."""
    values = {**ask.posting(), **user, **content.measures}
    return {name: values[name] for name in COLUMNS}


def predict(model: ServedModel, content: Content, columns: dict[str, float | None]) -> float:
    """The predicted popularity, the float of a float32. Raises NoModelToServe for the embedding of another classifier."""
    if fault := classifier_fault(model, content.model_id):
        raise NoModelToServe(fault)
    return float(model.predictor.popularity(content.embedding, feature_row(columns))[0])


def classifier_fault(model: ServedModel, classifier: str) -> str | None:
    """What to do about a model that reads the embeddings of another classifier; None if it reads these."""
    if classifier == model.predictor.model_id:
        return None
    return (
        f"the model of {model.night} reads embeddings of {model.predictor.model_id}, and the classifier is "
        f"{classifier}: set DARKROOM_MODEL to the former, or train a model with the latter"
    )


def interval(model: ServedModel, popularity: float) -> dict[str, float | None] | None:
    """The interval that contains the popularity with `COVERAGE`, if photos are as those held out; None if unknown.

    measured: share of held-out photos that lay within such intervals.
    """
    if model.half_width is None:
        return None
    low, high = max(0.0, popularity - model.half_width), popularity + model.half_width
    return {"low": low, "high": high, "coverage": COVERAGE, "measured_coverage": model.coverage}
