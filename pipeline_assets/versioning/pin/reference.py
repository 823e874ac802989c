"""The reference: a small JSON in git that names a data set, `datasets/NAME.json`. Its model and its text.

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
"""Size limit of a reference; usual ones are below 4 KB."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, StringConstraints(max_length=1000)]
MAX_CONDITION = 30_000
"""Characters of a condition: with them a reference stays within its limit."""


def checked_name(name: str) -> str:
    """The name, if it is valid for a data set and its file. Raises ValueError otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a valid name: use letters, digits and . _ -, at most 80, a letter or digit first")
    return name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Code(_Part):
    """The code's commit, and whether the work tree was clean. commit: None outside a repository."""

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40,64}$")] | None
    clean: bool


def code_of(commit: str | None) -> Code:
    """From a commit in the ledger's notation: with `+` at the end if the work tree had changes."""
    return Code(commit=commit.rstrip("+") if commit else None, clean=commit is not None and not commit.endswith("+"))


class TableVersion(_Part):
    """Days of a Delta table at a version. digest: over the digests of the days' rows."""

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


class Selection(_Part):
    """A part of the asset's rows: those of its pinned days for which an SQL condition holds. digest: as of a table."""

    where: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CONDITION)]
    rows: Count
    digest: Digest


class Manifest(_Part):
    """The list of all files: a Parquet object in the store `objects`, under its sha256. digest: of its rows."""

    sha256: Sha256
    size_bytes: Count
    digest: Digest
    files: Count
    bytes: Count


class Reference(_Part):
    """One data set. asset and tables are set for a table's rows; a pinned folder has only the manifest.

    selection: without it, all rows of these days; `tables` has whole days in any case. darkroom: the format, 2 with a
    selection, which a Darkroom that does not know selections refuses.
    tables: the version of the asset and those of all its inputs. models: the models that computed its columns, and for a
    nightly set the model trained on it. stores: URLs of the manifest's stores at the time of pinning.
    """

    darkroom: Literal[1, 2] = 1
    name: Annotated[str, AfterValidator(checked_name)]
    message: Text = ""
    created_at: datetime
    created_by: Text
    code: Code
    asset: Identifier | None = None
    tables: Annotated[dict[Identifier, TableVersion], Field(max_length=32)] = {}
    selection: Selection | None = None
    models: Annotated[dict[Text, Text], Field(max_length=32)] = {}
    manifest: Manifest
    stores: Annotated[dict[Identifier, Text], Field(max_length=8)] = {}

    @model_validator(mode="after")
    def _asset_is_pinned(self) -> "Reference":
        if self.asset is not None and self.asset not in self.tables:
            raise ValueError(f"the asset {self.asset} is not among the tables")
        if self.selection is not None and self.asset is None:
            raise ValueError("a folder has no rows to select")
        if (self.selection is not None) != (self.darkroom == 2):
            raise ValueError(f"format {self.darkroom} has {'no' if self.darkroom == 1 else 'a'} selection")
        return self

    @property
    def rows(self) -> int | None:
        """How many rows of the asset it has; None for a folder."""
        if self.selection is not None:
            return self.selection.rows
        return self.table.rows if self.table else None

    @property
    def table(self) -> TableVersion | None:
        """The asset's own rows; None for a folder."""
        return self.tables[self.asset] if self.asset else None

    @property
    def identity(self) -> str:
        """SHA-256 over data and code. Author, time, name and stores are not part of it.

        Nor is a table's version: rows that a killed run committed twice are the same rows.
        """
        content = self.model_dump(
            mode="json", include={"asset", "tables", "code"}, exclude={"tables": {"__all__": {"version"}}}
        )
        if self.selection is not None:
            content["selection"] = self.selection.model_dump(mode="json")
        content["files"] = self.manifest.digest
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def dumps(self) -> str:
        """The JSON text, one field per line, with a newline at the end."""
        left_out = {"selection"} if self.selection is None else None
        return json.dumps(self.model_dump(mode="json", exclude=left_out), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def loads(cls, text: str | bytes, source: str) -> "Reference":
        """Parse the text that `dumps` writes. source: its name in errors. Raises ReferenceUnreadable for other text."""
        if len(text) > MAX_BYTES:
            raise ReferenceUnreadable(f"{source} has {len(text):,} bytes; a reference has at most {MAX_BYTES:,}.")
        try:
            plain: Any = json.loads(text, object_pairs_hook=_no_doubles)
            version = plain.get("darkroom") if isinstance(plain, dict) else None
            if isinstance(version, int) and version > 2:
                raise ReferenceUnreadable(f"{source} was written by a newer Darkroom (format {version}): upgrade this one.")
            return cls.model_validate_json(json.dumps(plain))
        except (ValueError, RecursionError) as error:
            reason = _first(error) if isinstance(error, ValidationError) else str(error)
            raise ReferenceUnreadable(
                f"{source} is not a reference of Darkroom: {reason[:300]}. Restore it from git (git checkout), or pin again."
            ) from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the reference'}: {first['msg']}"


def _no_doubles(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("it has a key twice, perhaps after a merge")
    return fields
