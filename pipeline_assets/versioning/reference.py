"""The reference: a small JSON in git that names a data set, `datasets/NAME.json`. Its shape and its text, nothing else.

It names table versions, the manifest of all files, the models and the code; the bytes lie in the stores. Its size does
not grow with the data.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipeline_assets.errors import ReferenceUnreadable

MAX_BYTES = 64 * 1024
"""A longer file is no reference; what `dumps` writes stays below 4 KB unless names are very long."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, StringConstraints(max_length=1000)]


def checked_name(name: str) -> str:
    """A data set's name, which is also a file's. Raises ValueError for any other text."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: use letters, digits and . _ -, at most 80, a letter or digit first")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Code(_Part):
    """The code's commit, and whether the tree had no other changes. commit: None outside a repository."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None
    clean: bool


def code_of(commit: str | None) -> Code:
    """From a commit as the ledger writes it: with `+` behind it where the tree had changes."""
    return Code(commit=commit.rstrip("+") if commit else None, clean=commit is not None and not commit.endswith("+"))


class TableVersion(_Part):
    """Days of a Delta table at a version. digest: over the days' digests of rows, as the ledger has them."""

    version: Count
    first_day: date
    last_day: date
    rows: Count
    digest: Digest

    @model_validator(mode="after")
    def _ordered(self) -> "TableVersion":
        if self.first_day > self.last_day:
            raise ValueError(f"first_day {self.first_day} is after last_day {self.last_day}")
        return self


class Manifest(_Part):
    """The list of all files: a Parquet object in the store `objects`, under its sha256. digest: of its rows."""

    sha256: Sha256
    size_bytes: Count
    digest: Digest
    files: Count
    bytes: Count


class Reference(_Part):
    """One data set. asset and tables are there for a table's rows; a pinned folder has the manifest alone.

    tables: the asset's own version and those of all that it was computed from. models: what made its columns, and for a
    nightly set the model that was trained on it. stores: where the manifest's stores were when this was written.
    """

    darkroom: Literal[1] = 1
    name: Annotated[str, AfterValidator(checked_name)]
    message: Text = ""
    created_at: datetime
    created_by: Text
    code: Code
    asset: Identifier | None = None
    tables: Annotated[dict[Identifier, TableVersion], Field(max_length=32)] = {}
    models: Annotated[dict[Text, Text], Field(max_length=32)] = {}
    manifest: Manifest
    stores: Annotated[dict[Identifier, Text], Field(max_length=8)] = {}

    @model_validator(mode="after")
    def _asset_is_pinned(self) -> "Reference":
        if self.asset is not None and self.asset not in self.tables:
            raise ValueError(f"the asset {self.asset} is not among the tables")
        return self

    @property
    def table(self) -> TableVersion | None:
        """The asset's own rows; None for a folder."""
        return self.tables[self.asset] if self.asset else None

    @property
    def identity(self) -> str:
        """SHA-256 over what the data and code are. Who pinned them, when, under which name and where changes nothing.

        Nor does a table's version: rows that a killed run committed twice are the same rows.
        """
        said = self.model_dump(
            mode="json", include={"asset", "tables", "code"}, exclude={"tables": {"__all__": {"version"}}}
        )
        said["files"] = self.manifest.digest
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def dumps(self) -> str:
        """The JSON text, one field a line, ended by a newline."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def loads(cls, text: str | bytes, source: str) -> "Reference":
        """Read what `dumps` writes. source: names it in the error. Raises ReferenceUnreadable for anything else."""
        if len(text) > MAX_BYTES:
            raise ReferenceUnreadable(
                f"{source} has {len(text):,} bytes, and a reference never has more than {MAX_BYTES:,}."
            )
        try:
            plain: Any = json.loads(text, object_pairs_hook=_no_doubles)
            version = plain.get("darkroom") if isinstance(plain, dict) else None
            if isinstance(version, int) and version > 1:
                raise ReferenceUnreadable(f"{source} was written by a newer Darkroom (format {version}): upgrade this one.")
            return cls.model_validate_json(json.dumps(plain))
        except (ValueError, RecursionError) as error:
            told = _first(error) if isinstance(error, ValidationError) else str(error)
            raise ReferenceUnreadable(
                f"{source} is not a reference of Darkroom: {told[:300]}. Take it from git again (git checkout), or pin anew."
            ) from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"


def _no_doubles(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice, as a merge may leave it")
    return found
