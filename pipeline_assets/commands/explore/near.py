"""`darkroom explore near`: the photos of all days that are nearest to one."""

import hashlib
import time
from pathlib import Path

import click
from rich.table import Table as Grid

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.terminal import decimal


@click.command()
@click.argument("photo")
@click.option(
    "-n", "--photos", "count", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many contents."
)
@click.option("--format", "kind", type=click.Choice(["table", "json"]), default="table", show_default=True)
def near(photo: str, count: int, kind: str) -> None:
    """Print the photos that are nearest to PHOTO: a photo id, an object key, a sha256 or its beginning; or an image file.

    \b
    darkroom explore near 1042
    darkroom explore near uploads/2026-01-31/17/photo.jpg --format json
    darkroom explore near ~/Pictures/holiday.jpg

    Exact, by cosine of the classifier's embeddings, over all days. Embeddings are read from `photo_classes` once, and
    kept in HOME/map, where you may delete them.
    """
    import numpy as np
    import polars as pl

    from pipeline_assets.classify import model_files
    from pipeline_assets.exploration.map import rows, search
    from pipeline_assets.exploration.map.assets import embedding_of, view_of
    from pipeline_assets.exploration.map.nearest import nearest_to
    from resources.assembly import resolve

    path = Path(photo).expanduser()
    with services() as settings:
        resources = resolve(settings)
        lake = resources["lake"]
        classes = lake.scan("photo_classes")
        photos = rows.photos_of(lake.scan("raw_uploads"), lake.scan("photo_metadata"), classes)
        named = search.named(photos, photo)
        if named.is_empty() and not path.is_file():
            raise click.UsageError(
                f"{photo} names no classified photo, or several: give a photo id, an object key, at least "
                f"{search.MIN_PREFIX} digits of a sha256, or an image file. `darkroom show photo_classes` lists photos."
            )
        model_id = model_files.model_id(settings.model) if named.is_empty() else named["model_id"][-1]
        contents = rows.contents_of(photos, model_id)
        of_model = classes.filter(model_id=model_id)
        view = view_of(lake, resources["map_files"], model_id, contents["sha256"], of_model)
        if named.is_empty():
            data = path.read_bytes()
            sha256, vector = hashlib.sha256(data).hexdigest(), embedding_of(data, resources["classifier"])
        else:
            sha256 = named["sha256"][-1]
            [row] = view.rows_of(pl.Series([sha256]))
            if not view.is_usable(np.array([row])).all():
                raise click.ClickException(f"{photo} has no usable embedding: `embedding_map_rejected` says why.")
            vector = np.array(view.vectors[row])
        if len(view.vectors) and view.vectors.shape[1] != len(vector):
            raise click.ClickException(
                f"The embeddings of {model_id} have {view.vectors.shape[1]} numbers, not {len(vector)}."
            )
        others = view.sha256.is_in(contents["sha256"].implode()) & (view.sha256 != sha256)
        leave_out = (~others).arg_true().cast(pl.Int64).to_numpy()
        began = time.perf_counter()
        found, similarity = nearest_to(view, vector, count, leave_out)
        milliseconds = 1_000 * (time.perf_counter() - began)
        hashes = [view.sha256[int(number)] for number in found]
        labels = of_model.filter(pl.col("sha256").is_in(hashes)).select(
            "sha256", pl.col("top5_label").list.first().alias("class")
        )
        answer = search.answers(photos.filter(model_id=model_id), labels.collect(), hashes, similarity.tolist())
        if kind == "json":
            click.echo(answer.write_ndjson(), nl=False)
            return
        grid = Grid("similarity", "day", "photo", "class", "key")
        for row in answer.iter_rows(named=True):
            number = "-" if row["photo_id"] is None else str(row["photo_id"])
            grid.add_row(decimal(row["similarity"]), str(row["upload_day"]), number, row["class"] or "-", row["key"])
        console.print(grid)
        console.print(f"{len(hashes)} of {contents.height:,} contents of {model_id}, found in {milliseconds:.0f} ms.")
