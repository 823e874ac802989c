"""`darkroom label next`: what to ask next."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline_assets.commands.session import console, services
from resources.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from pipeline_assets.labeling.campaigns.campaign import Campaign
    from pipeline_assets.labeling.campaigns.queue import Embed


@click.command("next")
@click.argument("campaign")
@click.option("--count", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="Number of items.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random items: another seed, others."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each item.")
def next_(campaign: str, count: int, seed: int, as_json: bool) -> None:
    """List the items of a campaign to ask next, each with the reason why it was chosen.

    \b
    uncertain      the model, or the labeling functions, doubt
    disagreement   people differ
    slice          its slice has few answers
    diverse        it looks unlike those with answers
    random         chosen by nothing: what tells whether the others gain (`random_share` in the campaign's file)
    rest           drawn of what the others left

    Items that are done are left out: people are as sure as the campaign wants, or it has all answers that it may have.
    """
    with services() as settings:
        _print_queue(settings, campaign, count, seed, as_json)


def _print_queue(settings: Settings, name: str, count: int, seed: int, as_json: bool) -> None:
    from pipeline_assets.labeling.campaigns import queue, queue_rows
    from resources.assembly import resolve

    asked = _asked(settings.campaigns, name)
    lake = resolve(settings)["lake"]
    tables = {table: _rows(lake, table, asked.name) for table in _SCHEMAS}
    found = queue_rows.items(asked, *tables.values())
    mix = queue.Mix().with_random(asked.random_share)
    chosen = queue_rows.shown(queue.next_items(found, count, mix, seed, _embed(lake, found)), found)
    if as_json:
        click.echo(chosen.write_ndjson(), nl=False)
        return
    for row in chosen.iter_rows(named=True):
        votes = f"{row['votes']} answers" if row["votes"] != 1 else "1 answer"
        console.print(f"{row['rank']:>4}  {row['reason']:<12}  {row['day']}  {row['key']}  ({votes})")
    done = int(found["is_done"].sum())
    console.print(f"{chosen.height:,} of {found.height - done:,} open items of {asked.name}; {done:,} are done or gold.")
    brought = queue_rows.gained(asked, tables["label_tasks"], tables["label_consensus"], seed)
    if brought is not None:
        console.print(f"Share of predictions that people correct, of doubtful items less of random ones: {brought}.")


def _asked(folder: Path, name: str) -> "Campaign":
    """The campaign; a fault in the file of another does not matter. Raises BadCampaign."""
    from pipeline_assets.errors import BadCampaign
    from pipeline_assets.labeling.campaigns import campaign

    usable, faults = campaign.usable(folder)
    if fault := faults.get(f"{name}.yaml"):
        raise BadCampaign(fault)
    return campaign.named(usable, name)


_SCHEMAS = ("label_tasks", "label_votes", "label_consensus", "weak_labels")


def _rows(lake: Any, table: str, name: str) -> "pl.DataFrame":
    """The rows of a campaign; none if the table is not there yet."""
    import polars as pl

    from pipeline_assets.catalog import DECLARED

    if not lake.exists(table):
        return DECLARED[table].schema.create_empty()
    return lake.scan(table).filter(pl.col("campaign") == name).collect()


def _embed(lake: Any, found: "pl.DataFrame") -> "Embed | None":
    """Embeddings of items by task key, read when they are asked for."""
    import numpy as np
    import polars as pl

    if not lake.exists("photo_classes"):
        return None

    def embed(keys: list[str]) -> Any:
        if not keys:
            return np.zeros((0, 1), np.float32)
        wanted = pl.DataFrame({"task_key": keys}).join(found, on="task_key", how="left", maintain_order="left")
        rows = (
            lake.scan("photo_classes", sorted(wanted["day"].unique()))
            .filter(pl.col("sha256").is_in(wanted["sha256"].unique().implode()))
            .select("sha256", "embedding")
            .unique("sha256", keep="any")
            .collect(engine="streaming")
        )
        width = int(rows["embedding"].list.len().max() or 1)
        vectors = np.full((len(keys), width), np.nan, np.float32)
        places = {sha256: number for number, sha256 in enumerate(rows["sha256"])}
        lists = rows["embedding"].to_list()
        for number, sha256 in enumerate(wanted["sha256"]):
            if sha256 in places and len(lists[places[sha256]]) == width:
                vectors[number] = lists[places[sha256]]
        return vectors

    return embed
