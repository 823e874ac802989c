"""`darkroom label report`: how far campaigns have come, what they cost, and who answers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from rich.table import Table as Grid

from pipeline_assets.commands.session import console, services
from pipeline_assets.runtime.terminal import decimal

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("campaign", required=False)
@click.option("--people", is_flag=True, help="List the annotators, too; annotator_quality says why they have their tier.")
def report(campaign: str | None, people: bool) -> None:
    """Print the progress, agreement and cost of CAMPAIGN, or of all.

    \b
    darkroom label report
    darkroom label report sample-subject --people

    Accepted labels are those that are sure enough, or that an adjudicator decided. The numbers are those of the tables:
    answers that arrived later count from the next computation of their day on.
    """
    from pipeline_assets.labeling.campaigns import report as numbers
    from pipeline_assets.nightly.summary import campaign_grid
    from resources.assembly import resolve

    with services() as settings:
        lake = resolve(settings)["lake"]
        tables = {name: lake.scan(name) for name in numbers.TABLES if lake.exists(name)}
        rows = numbers.progress(tables)
        chosen = rows if campaign is None else rows.filter(campaign=campaign)
        console.print(campaign_grid(chosen) if chosen.height else "No campaign has tasks or answers yet.")
        if people and "annotator_quality" in tables:
            found = numbers.people(tables["annotator_quality"])
            for grid in _people_grids(found if campaign is None else found.filter(campaign=campaign)):
                console.print(grid)


def _people_grids(rows: "pl.DataFrame") -> Iterator[Grid]:
    """A table for each version of each campaign."""
    for (campaign, version), some in rows.group_by("campaign", "version", maintain_order=True):
        grid = Grid("annotator", "answers", "gold", "accuracy", "seconds", "tier", title=f"{campaign} {version}")
        for row in some.iter_rows(named=True):
            gold = f"{row['gold_correct']}/{row['gold_answers']}" if row["gold_answers"] else "-"
            numbers = (f"{row['answers']:,}", gold, decimal(row["accuracy"]), decimal(row["median_lead_s"], 1))
            grid.add_row(row["annotator"], *numbers, row["tier"])
        yield grid
