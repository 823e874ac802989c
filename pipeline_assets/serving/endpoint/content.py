"""What is in one photo: its verdict, embedding, class and measures, equal to the bit to the batch pipeline's.

What does not live here: features of users, the popularity model (`scoring.py`), and the comparison with the batch pipeline
(`self_check.py`).
"""

import hashlib
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline_assets.classify.decode import Decoded, decode
from pipeline_assets.classify.fusion import fuse
from pipeline_assets.classify.models import Classifier
from pipeline_assets.classify.pipeline import choose_runner
from pipeline_assets.classify.runners import CpuRunner, DeviceRunner, Scores, choose_device, choose_dtype
from pipeline_assets.classify.styles import measure_styles
from pipeline_assets.errors import BadImage
from pipeline_assets.ingestion.media.limited import Inspect

MEASURES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness", "aspect")


@dataclass(frozen=True, eq=False)
class Content:
    """One photo's own columns of the training table. embedding: (1, E) float32; measures: MEASURES, rounded to Float32."""

    sha256: str
    model_id: str
    top_class: str
    top_probability: float
    embedding: npt.NDArray[np.float32]
    measures: dict[str, float]


class PhotoReader:
    """Reads one photo after the other; safe on threads, each of which should have torch on one thread.

    inspect: the judge of uploads (`ingestion.media.limited`): what is quarantined there is refused here, by the same reason.
    """

    def __init__(self, classifier: Classifier, inspect: Inspect, device: str = "cpu", batch_size: int = 64) -> None:
        self.classifier, self._inspect = classifier, inspect
        self._runner = one_row_runner(classifier, device, batch_size)

    def read(self, data: bytes, name: str = "") -> Content:
        """The content of a photo. name: its key, for the extension alone. Raises BadImage with a verdict as its reason."""
        inspection = self._inspect(data, name)
        if inspection.verdict != "ok":
            raise BadImage(inspection.verdict, inspection.verdict_detail or "")
        if not (inspection.media_type or "").startswith("image/"):
            raise BadImage("not_an_image", f"the bytes are {inspection.media_type}")
        photo = decode(data, self.classifier.preprocessing)
        scores = self._score(photo)
        measures = astuple(measure_styles(photo.scaled, photo.width_px / photo.height_px))
        return Content(
            sha256=inspection.sha256 or hashlib.sha256(data).hexdigest(),
            model_id=self.classifier.model_id,
            top_class=self.classifier.classes[int(scores.index[0, 0])],
            top_probability=float(scores.probability[0, 0]),
            embedding=scores.embedding,
            measures={name: float(np.float32(value)) for name, value in zip(MEASURES, measures, strict=True)},
        )

    def _score(self, photo: Decoded) -> Scores:
        crop = np.ascontiguousarray(photo.crop.transpose(1, 2, 0)).transpose(2, 0, 1)
        if isinstance(self._runner, CpuRunner):
            return self._runner.score([crop])
        return self._runner.submit([crop])()


def one_row_runner(classifier: Classifier, device: str, batch_size: int) -> CpuRunner | DeviceRunner:
    """The runner of single photos: of one row for the built-in network on a CPU, else that of the batch pipeline.

    A pass of one row takes a quarter of the CPU time of the batch pipeline's, padded to four, with the same result.
    """
    torch_device = choose_device(device)
    fused = fuse(classifier.module, choose_dtype(torch_device), rows=1) if torch_device == torch.device("cpu") else None
    if fused is not None:
        return CpuRunner(classifier, fused, rows=1)
    return choose_runner(classifier, torch_device, batch_size, cache=None)
