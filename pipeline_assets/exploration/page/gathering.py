"""Makes the page from the tables and stores of a project. What it shows of them is decided by the pure modules beside it."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from pipeline_assets.errors import BadImage, ModelUnusable, SchemaMismatch
from pipeline_assets.exploration.page import document
from pipeline_assets.exploration.page.document import About, Variant
from pipeline_assets.exploration.page.points import FALLBACK_AXES, HIDDEN, Points, class_labels, points, suspects
from pipeline_assets.exploration.page.thumbnails import MADE_BY, thumbnail
from pipeline_assets.ingestion.schemas import IS_PHOTO
from pipeline_assets.labeling.exchange.store import user_pseudonyms
from pipeline_assets.runtime.blobs import MAX_IN_MEMORY_BYTES, bytes_of
from pipeline_assets.runtime.cores import ahead, core_count
from pipeline_assets.runtime.places import Contents, in_all_days, places_of
from pipeline_assets.runtime.progress import track
from pipeline_assets.versioning.pin.condition import condition, condition_errors
from resources import files
from resources.assembly import resolve
from resources.database import ledger
from resources.database.contract import Database
from resources.errors import ObjectError
from resources.lake.lake import Lake
from resources.objects.store import ObjectStore
from resources.settings import Settings

TABLE = "training_table"
USERS = "feedback"
"""The source of pseudonyms: a user has the same one here as in `feedback_labels`."""
MAX_VARIANTS = 300
"""Pictures of variants on a page. Their parents are the photos whose thumbnails come first."""
READ_AHEAD = 16


@dataclass(frozen=True)
class Asked:
    """What a page is asked to show. days: first and last. thumbnails_bytes: of all thumbnails together."""

    days: tuple[date, date] | None = None
    where: str | None = None
    photos: int = 100_000
    thumbnails: int = 2000
    thumbnails_bytes: int = 24 * 2**20
    titles: bool = False


@dataclass(frozen=True)
class MadePage:
    """A page. thumbnail: the picture of a name that it asks a server for."""

    text: str
    policy: str
    photos: int
    thumbnails: int
    thumbnail: Callable[[str], bytes | None]


def made(settings: Settings, asked: Asked, tell: Callable[[str], object], *, is_served: bool = False) -> MadePage:
    """The page of a project. Raises TableMissing without a training table, BadSelection for a wrong condition."""
    parts = resolve(settings)
    lake: Lake = parts["lake"]
    photos, about = _photos(lake, parts, asked, is_served=is_served)
    pictures = _Pictures(lake, parts["uploads"].store, settings.home / "cache" / "thumbnails")
    pictures.forget_erased()
    # Hashes are as good as random: the first ones are an even sample, and the same one each time.
    shown = sorted(set(photos.sha256))[: asked.thumbnails]
    small = dict(_within(track(pictures.of(shown), len(shown), "Thumbnails", "photos", tell), asked.thumbnails_bytes))
    variants = list(_variants(lake, parts["objects"].store, shown)) if small else []
    text = document.page(photos, about, small, variants)
    named = set(photos.sha256)
    return MadePage(
        text=text,
        policy=document.policy_of(text),
        photos=photos.rows.height,
        thumbnails=len(small),
        thumbnail=lambda name: pictures.one(sha256) if (sha256 := name.removesuffix(".jpg")) in named else None,
    )


def _photos(lake: Lake, parts: dict[str, Any], asked: Asked, *, is_served: bool) -> tuple[Points, About]:
    """The photos, and what the page says of them."""
    scan = lake.scan(TABLE)
    names = scan.collect_schema().names()
    notes, conditions = [], []
    is_told = True
    if asked.where:
        chosen = condition(scan, asked.where, names)
        is_told = set(chosen.meta.root_names()) <= set(names) - set(HIDDEN)
        scan = scan.filter(chosen)
        conditions.append(asked.where)
    if not is_told:
        notes.append("These photos were chosen by columns that the page does not show: a selection leaves it as ids.")
    if asked.days:
        first, last = asked.days
        scan = scan.filter(pl.col("day").is_between(first, last))
        conditions.append(f"day between date('{first}') and date('{last}')")
    with condition_errors(asked.where):
        training = scan.drop("embedding", strict=False).collect(engine="streaming")
    total = training.height
    if total > asked.photos:
        training = training.sort("sha256", "day", "photo_id").head(asked.photos)
        notes.append(f"An even sample of {asked.photos:,} of {total:,} photos. A condition selects from all of them.")
    days = training["day"].unique().sort().to_list()
    predictions, note = _predictions(lake, parts["objects"].store, training, days)
    photos = points(
        training,
        places=_places(lake, parts["database"]),
        styles=_read(lake, "photo_styles", days),
        photos=_read(lake, "photo_metadata", days),
        labels=_labels(lake, parts["database"], days),
        predictions=predictions,
        owners=_owners(parts["database"], training),
    )
    if not asked.titles:
        photos = photos.without("title", "key")
    if photos.axes is not None:
        notes.append(
            f"The map is {' by '.join(FALLBACK_AXES)}: no photo has a place on the map of embeddings (embedding_map) yet."
        )
    return photos, About(
        title="Darkroom: photos",
        table=TABLE,
        table_columns=names,
        notes=[*notes, *note],
        condition=" and ".join(f"({one})" for one in conditions) if is_told else None,
        served=is_served,
    )


def _read(lake: Lake, table: str, days: Sequence[date]) -> pl.DataFrame | None:
    """Rows of these days; None if there is no such table yet."""
    return lake.scan(table, days).drop("embedding", strict=False).collect() if lake.exists(table) else None


def _places(lake: Lake, database: Database) -> pl.DataFrame | None:
    """The newest night's places on the map that has most photos: those of another map do not go with them."""
    rows = _newest(lake, database, "embedding_map")
    if rows is None:
        return None
    rows = rows.filter(pl.col("photo_id").is_not_null())
    versions = rows["map_version"].value_counts(sort=True)
    return rows.filter(pl.col("map_version") == versions["map_version"][0]) if rows.height else rows


def _newest(lake: Lake, database: Database, table: str) -> pl.DataFrame | None:
    """Rows of a table's newest night, which may be none; None if there is no such table yet."""
    newest = ledger.newest_day(database, table)
    return None if newest is None or not lake.exists(table) else lake.scan(table, [newest]).collect()


def _labels(lake: Lake, database: Database, days: Sequence[date]) -> pl.DataFrame | None:
    """What people answered, and which of it is suspect."""
    consensus = _read(lake, "label_consensus", days)
    if consensus is None:
        return None
    suspect = _newest(lake, database, "label_suspects")
    columns = [class_labels(consensus), *([] if suspect is None else [suspects(suspect, consensus)])]
    return pl.concat(columns, how="diagonal")


def _owners(database: Database, training: pl.DataFrame) -> dict[int, str]:
    users = training["user_id"].unique().to_list()
    names = user_pseudonyms(database, USERS, map(str, users))
    return {user: names[str(user)] for user in users}


def _predictions(
    lake: Lake, objects: ObjectStore, training: pl.DataFrame, days: Sequence[date]
) -> tuple[pl.DataFrame | None, list[str]]:
    """What the newest model predicts of these photos, and a note; None without a model that reads their embeddings."""
    if training.is_empty() or not lake.exists("popularity_model"):
        return None, []
    newest = lake.scan("popularity_model").sort("day").last().select("day", "weights_sha256").collect()
    if newest.is_empty():
        return None, []
    from pipeline_assets.training.model import prediction  # torch takes seconds to import

    parts = []
    try:
        model = prediction.load(objects.get_content(newest["weights_sha256"].item()))
        for day in days:
            rows = lake.scan(TABLE, [day]).filter(pl.col("model_id") == model.model_id).collect()
            parts.append(model.predict(rows))
    except (ModelUnusable, SchemaMismatch, ObjectError) as error:
        return None, [f"The newest model predicts nothing here: {error}"]
    note = f"Predictions are those of the model of {newest['day'].item()}; it has seen the photos of the split train."
    return pl.concat(parts), [note]


def _within(thumbnails: Iterator[tuple[str, bytes | None]], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Those that there are, until they have so many bytes together."""
    left = max_bytes
    for sha256, data in thumbnails:
        if data is None:
            continue
        left -= len(data)
        if left < 0:
            return
        yield sha256, data


def _variants(lake: Lake, objects: ObjectStore, parents: Sequence[str]) -> Iterator[Variant]:
    """Variants of these photos, by parent, at most MAX_VARIANTS. What can't be read is left out."""
    if not lake.exists("photo_variants"):
        return
    of_parents = pl.col("parent_sha256").is_in(pl.Series(list(parents), dtype=pl.String).implode())
    columns = ("parent_sha256", "recipe", "number", "content_sha256", "object_sha256", "object_offset", "size_bytes")
    rows = lake.scan("photo_variants").filter(of_parents).select(columns).collect().sort("parent_sha256", "recipe", "number")
    for row in rows.head(MAX_VARIANTS).iter_rows(named=True):
        place = row["content_sha256"], row["object_sha256"], row["object_offset"], row["size_bytes"]
        try:
            yield Variant(row["parent_sha256"], row["recipe"], thumbnail(bytes(objects.get_part(*place))))
        except (ObjectError, BadImage):
            continue


class _Pictures:
    """Thumbnails of uploads, each made once and kept in a folder under its photo's sha256."""

    def __init__(self, lake: Lake, uploads: ObjectStore, folder: Path) -> None:
        self._lake, self._uploads, self._folder = lake, uploads, folder

    def of(self, hashes: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        """(sha256, thumbnail) of these contents; None for one that can't be read or decoded."""
        missing = []
        for sha256 in hashes:
            path = self._path(sha256)
            if path.exists():
                yield sha256, path.read_bytes()
            else:
                missing.append(sha256)
        if missing:
            yield from self._made(missing)

    def forget_erased(self) -> None:
        """Delete kept thumbnails of contents that are no uploads any more."""
        kept = list(self._folder.glob("*/*.jpg"))
        if not kept or not self._lake.exists("raw_uploads"):
            return
        existing = set(self._lake.scan("raw_uploads").select("sha256").unique().collect()["sha256"])
        for path in kept:
            if path.name.split("-")[0] not in existing:
                path.unlink(missing_ok=True)

    def one(self, sha256: str) -> bytes | None:
        """The thumbnail of one content."""
        return next(self.of([sha256]))[1]

    def _made(self, hashes: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        has_content = pl.col("sha256").is_in(pl.Series(list(hashes), dtype=pl.String).implode())
        rows = self._lake.scan("raw_uploads").filter(IS_PHOTO, has_content).select("sha256", "key", "version_id")
        places = places_of(rows.collect())
        contents = Contents(self._uploads, places, in_all_days(self._lake, None))
        read = contents.read(
            [sha256 for sha256 in hashes if sha256 in places],
            concurrency=READ_AHEAD,
            max_in_memory_bytes=MAX_IN_MEMORY_BYTES,
        )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ThreadPoolExecutor(core_count()) as pool:
            yield from ahead(pool, self._thumbnail, read, 2 * core_count())
        yield from ((sha256, None) for sha256 in hashes if sha256 not in places)

    def _thumbnail(self, item: tuple[str, bytes | Path | ObjectError]) -> tuple[str, bytes | None]:
        sha256, data = item
        if isinstance(data, ObjectError):
            return sha256, None
        try:
            small = thumbnail(bytes_of(data))
        except BadImage:
            return sha256, None
        path = self._path(sha256)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        files.write(path, small, mode=0o600)
        return sha256, small

    def _path(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ValueError(f"{sha256!r} is no sha256")
        return self._folder / sha256[:2] / f"{sha256}-{MADE_BY}.jpg"
