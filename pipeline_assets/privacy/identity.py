"""Finds out by what a person's data are found: from the application's database, the uploads and the tables."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from pipeline_assets.privacy.holding import Stores
from pipeline_assets.privacy.person import FEEDBACK, Person, unmixed
from pipeline_assets.privacy.stored import own_uploads, table_rows
from resources.objects.object_info import BY_ETAG
from resources.objects.removal import Stored

_LABELS = ("label_tasks", "label_votes", "label_consensus")
_VARIANTS = ("photo_variants", "text_variants", "speech_variants", "video_variants")


def identify(stores: Stores, user_id: int) -> Person:
    """A person by all that is known of them. Uploads that no table has are read for their hash."""
    stored = list(own_uploads(stores, user_id))
    person = _in_database(stores, replace(Person(user_id), keys=frozenset(one.key for one in stored)))
    uploaded, _ = table_rows(stores, "raw_uploads", person)
    person = _with_photos(stores, replace(person, keys=person.keys | _values(uploaded, "key")))
    hashes = _values(uploaded, "sha256") | set(_hashes_of_unread(stores, stored, uploaded))
    hashes |= {hashlib.sha256(text.encode()).hexdigest() for text in person.texts}
    person = replace(person, hashes=frozenset(hashes))
    made = frozenset(
        value
        for table in _VARIANTS
        for rows, _ in [table_rows(stores, table, person)]
        for own in [unmixed(rows, person)]
        for column in ("content_sha256", "variant_id")
        for value in _values(own, column)
    )
    asked = [rows for table in _LABELS for rows, _ in [table_rows(stores, table, person)] if rows.height]
    about_own = [rows.filter(pl.col("key").is_in(sorted(person.keys))) for rows in asked]  # others are those they answered
    tasks = frozenset(value for rows in about_own for value in _values(rows, "task_key"))
    return replace(person, hashes=person.hashes | made, tasks=tasks)


def _in_database(stores: Stores, person: Person) -> Person:
    names = stores.database.rows("select name from users where user_id = %s", (person.user_id,))
    photos = stores.database.rows("select photo_id, key, title, location from photos where user_id = %s", (person.user_id,))
    pseudonyms = stores.database.rows(
        "select pseudonym from label_annotators where source = %s and external_id = %s", (FEEDBACK, str(person.user_id))
    )
    return replace(
        person,
        names=frozenset(name for (name,) in names if name),
        photo_ids=frozenset(photo[0] for photo in photos),
        keys=person.keys | {photo[1] for photo in photos},
        texts=frozenset(text for photo in photos for text in photo[2:] if text),
        pseudonyms=frozenset(pseudonym for (pseudonym,) in pseudonyms),
    )


def _with_photos(stores: Stores, person: Person) -> Person:
    """With photos, titles and places of all versions of photo_metadata, also those that the database no longer has."""
    photos, _ = table_rows(stores, "photo_metadata", person)
    return replace(
        person,
        photo_ids=person.photo_ids | _values(photos, "photo_id"),
        keys=person.keys | _values(photos, "key"),
        texts=person.texts | _values(photos, "title") | _values(photos, "location"),
    )


def _values(rows: pl.DataFrame, column: str) -> frozenset[Any]:
    return frozenset(value for value in rows[column] if value not in (None, "")) if column in rows.columns else frozenset()


def _hashes_of_unread(stores: Stores, stored: list[Stored], uploaded: pl.DataFrame) -> Iterator[str]:
    """The hashes of versions that have no hash in raw_uploads, one file in memory."""
    read = set(uploaded.drop_nulls("sha256").select("key", "version_id").iter_rows()) if uploaded.height else set()
    for one in stored:
        if not one.is_marker and (one.key, one.version_id or f"{BY_ETAG}{one.etag}") not in read:
            yield hashlib.sha256(stores.uploads.get(one.key, version_id=one.version_id)).hexdigest()
