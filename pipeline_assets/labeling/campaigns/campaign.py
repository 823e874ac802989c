"""A campaign: one question about many items, as a small YAML file in git. Read and checked here. Pure.

An answer belongs to the version of the question that was asked: `version` rises whenever the question, its kind, its classes
or its instructions change. Everything else (votes, prices, slices) may change at any time.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline_assets.errors import BadCampaign, UnfitParent
from pipeline_assets.labeling import plain_yaml
from pipeline_assets.labeling.campaigns import answer
from pipeline_assets.labeling.campaigns.answer import CHOICE_KINDS, MARK_KINDS, Kind

MAX_FILE_BYTES = 4 << 20
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,62}")
Text = Annotated[str, Field(min_length=1, max_length=2_000)]
Class = Annotated[str, Field(min_length=1, max_length=200)]
QUESTION = ("question", "kind", "classes", "scale", "target", "instructions")
"""The fields that make another question, and so need another version."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Gold(_Strict):
    """An item whose answer is known: by the SHA-256 of its content, or by its upload's key, a pattern with * and ? too."""

    answer: dict[str, Any]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    key: Annotated[str, Field(min_length=1, max_length=1_024)] | None = None

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.sha256 is None) == (self.key is None):
            raise ValueError("a gold answer needs `sha256` or `key`, and not both")
        return self


class Campaign(_Strict):
    """One question, and how it is asked.

    classes: in order, for ordinal and interval scales. media: patterns of media types, as `image/*`; where: an SQL
    condition that chooses items; slices: conditions by name, of which an item belongs to the first that holds. votes:
    answers wanted of each item, up to max_votes until the consensus reaches `confidence`. predictions: labels of
    `photo_classes` for each class.
    gold_share: of the questions that one person sees. random_share: of items that no strategy chooses.
    """

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    version: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    question: Text
    kind: Kind
    classes: Annotated[list[Class], Field(max_length=1_000)] = []
    scale: Literal["nominal", "ordinal", "interval"] = "nominal"
    target: Literal["upload", "title"] = "upload"
    instructions: Annotated[str, Field(max_length=20_000)] = ""
    media: Annotated[list[Class], Field(min_length=1, max_length=100)] = ["image/*"]
    where: Text | None = None
    first_day: date | None = None
    slices: dict[Class, Text] = {}
    votes: Annotated[int, Field(ge=1, le=1_000)] = 3
    max_votes: Annotated[int, Field(ge=1, le=1_000)] | None = None
    confidence: Annotated[float, Field(gt=0, le=1)] = 0.9
    gold: Annotated[list[Gold], Field(max_length=100_000)] = []
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    random_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    predictions: dict[Class, list[Class]] = {}
    price: Annotated[float, Field(ge=0, le=1_000)] = 0.0
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    promotes: bool = True
    weak: Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")] | None = None
    weak_models: Annotated[list[Literal["weighted", "snorkel"]], Field(min_length=1, max_length=2)] = ["weighted"]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is listed twice")
        if self.kind in CHOICE_KINDS and len(self.classes) < 2:
            raise ValueError(f"a question of kind `{self.kind}` needs at least two classes")
        if self.kind in MARK_KINDS and not self.classes:
            raise ValueError(f"a question of kind `{self.kind}` needs classes: the labels of its marks")
        if self.kind == "spans" and self.target != "title":
            raise ValueError("spans are marks of a title: set `target: title`")
        if self.target == "title" and self.kind not in ("class", "classes", "text", "ranking", "spans"):
            raise ValueError(f"a title has no {self.kind}")
        if self.max_votes is not None and self.max_votes < self.votes:
            raise ValueError("max_votes is below votes")
        if unknown := sorted(set(self.predictions) - set(self.classes)):
            raise ValueError(f"predictions are of the classes, and `{unknown[0]}` is none")
        for gold in self.gold:
            try:
                answer.canonical(self.kind, self.classes, gold.answer)
            except UnfitParent as unfit:
                raise ValueError(f"the gold answer of {gold.key or gold.sha256} is invalid: {unfit.detail}") from None
        return self

    @model_validator(mode="after")
    def _one_class_of_functions(self) -> Self:
        if self.weak is not None and self.kind != "class":
            raise ValueError("labeling functions (`weak`) answer questions of kind `class`")
        return self

    @property
    def most_votes(self) -> int:
        """The limit of answers to one item."""
        return self.max_votes or self.votes

    @property
    def question_digest(self) -> str:
        """Identifies what people are asked: equal for equal questions."""
        asked = self.model_dump(mode="json", include=set(QUESTION))
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    @property
    def definition(self) -> str:
        """Canonical JSON of all but the gold answers, which nobody should find by accident; `parse_definition` reads it."""
        return json.dumps(self.model_dump(mode="json", exclude={"gold"}), sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Identifies the whole campaign, gold answers included."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def parse(text: str, name: str) -> Campaign:
    """The campaign of a YAML file. name: of the file, without its ending. Raises BadCampaign with the file's fault."""
    where = f"campaigns/{name}.yaml"
    if len(text) > MAX_FILE_BYTES:
        raise BadCampaign(_too_large(f"{name}.yaml"))
    try:
        fields = plain_yaml.parse(text)
    except yaml.YAMLError as error:
        raise BadCampaign(f"{where} is no YAML: {type(error).__name__}: {str(error)[:300]}") from None
    if not isinstance(fields, dict):
        raise BadCampaign(f"{where} is no campaign: write fields such as `question: Is it sharp?`, see docs/labeling.md.")
    if fields.setdefault("name", name) != name:
        raise BadCampaign(f"{where} has the name {fields['name']!r:.80}: a campaign is named as its file.")
    return _checked(fields, where)


def parse_definition(definition: str) -> Campaign:
    """The campaign of `Campaign.definition`, without its gold answers. Raises BadCampaign."""
    try:
        return Campaign.model_validate_json(definition)
    except ValidationError as error:
        raise BadCampaign(f"a recorded campaign: {_faults(error.errors())}") from None


def read(folder: Path) -> list[Campaign]:
    """The campaigns of a folder's `*.yaml` files, by name; none if there is no folder. Raises BadCampaign."""
    return [parse(_text(path), path.stem) for path in _files(folder)]


def usable(folder: Path, mentioning: str = "") -> tuple[list[Campaign], dict[str, str]]:
    """The same, less those that are faulty, which are returned by their file's name, with what is wrong.

    mentioning: files without this text are left out unread, since to read many gold answers takes long.
    """
    campaigns, faults = [], {}
    for path in _files(folder):
        try:
            text = _text(path)
            if mentioning in text:
                campaigns.append(parse(text, path.stem))
        except BadCampaign as fault:
            faults[path.name] = str(fault)
    return campaigns, faults


def named(campaigns: Iterable[Campaign], name: str) -> Campaign:
    """The campaign of this name. Raises BadCampaign with those that there are."""
    found: Mapping[str, Campaign] = {campaign.name: campaign for campaign in campaigns}
    if name not in found:
        existing = f"It has {', '.join(found)}." if found else "It has none."
        raise BadCampaign(f"campaigns/ has no {name}.yaml. {existing}")
    return found[name]


def _files(folder: Path) -> list[Path]:
    """The folder's campaign files, by name; those of an editor, which begin with a dot, are none."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadCampaign(_too_large(path.name))
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadCampaign(f"campaigns/{path.name} is no text in UTF-8.") from None
    except OSError as error:
        raise BadCampaign(f"campaigns/{path.name} can't be read: {error.strerror}.") from None


def _too_large(name: str) -> str:
    return f"campaigns/{name} has more than {MAX_FILE_BYTES >> 20} MiB: keep gold answers of big campaigns apart."


def _checked(fields: Mapping[str, Any], where: str) -> Campaign:
    try:
        return Campaign.model_validate(fields)
    except ValidationError as error:
        raise BadCampaign(f"{where}: {_faults(error.errors())}") from None


def _faults(errors: Sequence[Any]) -> str:
    """What is wrong with which fields, in one sentence."""
    faults = []
    for error in errors[:5]:
        name = ".".join(map(str, error["loc"]))
        if error["type"] == "extra_forbidden":
            faults.append(f"`{name}` is no field of a campaign; these are: {', '.join(Campaign.model_fields)}")
        else:
            faults.append(f"{name}: {error['msg']}" if name else str(error["msg"]).removeprefix("Value error, "))
    return "; ".join(faults) + (f"; and {len(errors) - 5} more" if len(errors) > 5 else "")
