"""The look of a photo, told from its embedding and its measured styles: a linear head trained on film-look variants.

`python -m benchmarks.variants_styles --write` trains the head, and measures it on photos that it never saw. No torch here,
and its inputs are what a photo has already: a look costs a few microseconds.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline_assets.errors import ModelUnusable

HEAD = Path(__file__).with_name("looks.npz")
MEASURES = ("brightness", "contrast", "saturation", "colourfulness", "sharpness")
"""The columns of `PhotoStyles` that the head reads; a crop's aspect says nothing of its look."""
TYPICAL, SPREAD = (0.39, 0.18, 0.21, 2.9, 5.7), (0.12, 0.06, 0.15, 1.36, 1.07)
"""Of their logarithms, roughly: products of them are taken about these."""
DECIMALS = 4
"""Of probabilities: sums in another order than the last time change no row."""
_SCHEMA = {"look": pl.String(), "look_probability": pl.Float32(), "look_model_id": pl.String()}


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head. weights: (E + M, K) and bias: (K,) float32; looks: K names; classifier_id: whose embeddings it reads.

    accuracy: of each look on held-out photos, as mean and half of the 95% interval over seeds.
    """

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    looks: tuple[str, ...]
    classifier_id: str
    accuracy: dict[str, tuple[float, float]]

    @property
    def model_id(self) -> str:
        """What rows carry: changes with any number of the head."""
        parts = json.dumps([self.looks, self.classifier_id]).encode()
        return f"looks-{hashlib.sha256(self.weights.tobytes() + self.bias.tobytes() + parts).hexdigest()[:12]}"

    def probabilities(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(n, E + M) -> (n, K). inputs: see `inputs_of`."""
        logits = inputs.astype(np.float64) @ self.weights.astype(np.float64) + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def save(head: Head, path: Path = HEAD) -> None:
    """Write a head: plain arrays and text, which reading can't execute."""
    description = {"looks": head.looks, "classifier_id": head.classifier_id, "accuracy": head.accuracy}
    np.savez(path, weights=head.weights, bias=head.bias, told=np.array(json.dumps(description)))


@lru_cache(maxsize=2)
def load(path: Path = HEAD) -> Head:
    """Read a head. Raises ModelUnusable if it is damaged."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            description = json.loads(str(arrays["told"]))
            accuracy = {name: (mean, half) for name, (mean, half) in description["accuracy"].items()}
            head = Head(
                arrays["weights"], arrays["bias"], tuple(description["looks"]), description["classifier_id"], accuracy
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ModelUnusable(f"{path} can't be read ({error!r}): install the project again") from error
    if head.weights.shape != (len(head.weights), len(head.looks)) or head.bias.shape != (len(head.looks),):
        raise ModelUnusable(f"{path} has weights {head.weights.shape}, not for {len(head.looks)} looks: install it again")
    return head


def inputs_of(rows: pl.DataFrame) -> npt.NDArray[np.float32]:
    """(n, E + M) float32 from rows with an embedding, all of one width E, and the measured styles.

    Of those go in the logarithms and their products by two: dark with little contrast is another thing than either alone.
    """
    embeddings = rows["embedding"].explode(empty_as_null=False).to_numpy().reshape(rows.height, -1)
    measured = (np.log1p(rows.select(MEASURES).to_numpy().astype(np.float64)) - TYPICAL) / SPREAD
    products = [measured[:, i] * measured[:, j] for i, j in combinations_with_replacement(range(len(MEASURES)), 2)]
    return np.hstack([embeddings, measured, np.column_stack(products)]).astype(np.float32)


def with_looks(styles: pl.DataFrame, classes: pl.DataFrame, key: str, head: Head) -> pl.DataFrame:
    """Measured styles, rows as they are, with the columns `look`, `look_probability` and `look_model_id`.

    classes: the column named by key, model_id and embedding of some of the photos. Null where a photo has no embedding of
    the classifier that the head was trained on.
    """
    distinct_styles = styles.unique(key, keep="first", maintain_order=True)
    fit = distinct_styles.join(classes.filter(pl.col("model_id") == head.classifier_id), on=key, maintain_order="left")
    if fit.is_empty():
        return styles.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in _SCHEMA.items())
    probabilities = head.probabilities(inputs_of(fit))
    best = probabilities.argmax(axis=1)
    looks = pl.DataFrame(
        {
            key: fit[key],
            "look": [head.looks[index] for index in best],
            "look_probability": probabilities[np.arange(len(best)), best].round(DECIMALS),
            "look_model_id": [head.model_id] * len(best),
        },
        schema={key: styles.schema[key], **_SCHEMA},
    )
    return styles.join(looks, on=key, how="left", maintain_order="left")
