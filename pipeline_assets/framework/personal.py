"""Which columns hold data of a person, declared by their names: in every table, a name says what its values are.

A column of your own says the same in its metadata, which goes before its name: `metadata=personal("key", subject=True)`, or
`metadata=personal(None)` for nobody's. What is declared neither way is `undeclared`, and fails a test. `privacy/places.py`
lists where data of a person lie beside tables.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import dataframely as dy
import polars as pl

Sort = Literal["user", "photo", "key", "hash", "pseudonym", "task", "text", "place", "state"]
"""What a personal column holds.

user, photo: ids of the application; key: of an upload; hash: of a content, or of how it looks; pseudonym: a person's name
in labeling tables; task: a question about a content; text: a title, JSON, or what a person wrote; place: where and with
what a photo was taken; state: packed numbers of a user.
"""


@dataclass(frozen=True)
class Mark:
    """What is declared of one column.

    personal: None for a column that is nobody's. subject: whether a row is that of the person whose value it has; a
    personal column that is none may name another's. content: text of many things, which is searched for all that a person
    is found by.
    """

    personal: Sort | None
    subject: bool = False
    content: bool = False


NOBODY = Mark(None)
_MARKS: dict[Mark, str] = {
    Mark("user", subject=True): "user_id",
    Mark("photo", subject=True): "photo_id",
    Mark("key", subject=True): "key",
    Mark("key", content=True): "source duplicate_of near_duplicate_of",
    Mark("hash", subject=True): "sha256 parent_sha256 other_parent_sha256",
    Mark("hash"): "content_sha256 variant_id mask_sha256 phash neighbours duplicate_group",
    Mark("pseudonym", subject=True): "user annotator",
    Mark("pseudonym"): "adjudicator",
    Mark("task", subject=True): "task_key",
    Mark("text", content=True): (
        "title text parent_text location details_json extra_json labels_json provenance_json raw detail verdict_detail why "
        "answer_json prediction_json gold_json votes_json report_json fields_json source_id request_id"
    ),
    Mark("place"): "latitude_deg longitude_deg camera taken_at",
    Mark("state"): "state_base64",
    NOBODY: (
        "ask_id bucket campaign campaign_json change column confusion_json dtype encoding event_id function "
        "functions_json given identity kind label look look_model_id manifest_sha256 map_version media_type method mode "
        "model_id model_sha256 not_label object_sha256 outcome pin_identity prediction_model reason recipe recipe_json "
        "reference_json route scene_json shadow_sha256 shard slice split styles_id suggested table table_digest "
        "table_versions_json target teacher tier top5_label top_class values verdict version_id weights_sha256"
    ),
}
MARKS: dict[str, Mark] = {name: mark for mark, names in _MARKS.items() for name in names.split()}
"""What is declared of the names of columns."""
METADATA = "personal"


def personal(sort: Sort | None, *, subject: bool = False, content: bool = False) -> dict[str, Any]:
    """The metadata of a column whose name says something else, or nothing yet: see `Mark`."""
    return {METADATA: Mark(sort, subject, content)}


def mark_of(name: str, column: dy.Column) -> Mark | None:
    """What is declared of a column; None if it is not declared."""
    return (column.metadata or {}).get(METADATA) or MARKS.get(name)


def marks(schema: type[dy.Schema]) -> Mapping[str, Mark]:
    """The declared marks of a table's columns."""
    return {name: mark for name, column in schema.columns().items() if (mark := mark_of(name, column))}


def is_shown(name: str, column: dy.Column) -> bool:
    """Whether previews in Dagster may show a column: nothing of a person is copied into its database."""
    mark = mark_of(name, column)
    return (mark is None or mark.personal is None) and "personal" not in (column.description or "")


def draws_text(schema: type[dy.Schema]) -> bool:
    """Whether pictures of a table draw what people wrote: Dagster's database gets none of them.

    `darkroom variants preview text` draws them into a file.
    """
    return "parent_text" in schema.columns()


def undeclared(schema: type[dy.Schema]) -> Iterator[str]:
    """Columns that may hold something of a person, and are declared neither as personal nor as nobody's.

    Texts, bytes, ids, and what is named as a place: other numbers, times and truths name nobody.
    """
    for name, column in schema.columns().items():
        if mark_of(name, column) is None and may_name_a_person(name, column.dtype):
            yield name


def may_name_a_person(name: str, dtype: pl.DataType) -> bool:
    """Whether a column must be declared."""
    text = "String" in str(dtype) or "Binary" in str(dtype) or dtype == pl.Object
    return text or name.endswith(("_id", "_deg", "_key", "_hash"))
