"""`darkroom explore OUT.html` and `darkroom explore --serve`: the page of photos."""

from datetime import date
from pathlib import Path

import click

from pipeline_assets.commands.session import Days, console, services
from resources import files


@click.command()
@click.argument("output", metavar="[OUT.html]", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--serve", is_flag=True, help="Serve the page to this machine until Ctrl-C, with a thumbnail of each photo.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="With --serve. Default: a free one.")
@click.option("--days", type=Days(), help="Only these UTC days, e.g. 2026-01-01..2026-01-31. Default: all.")
@click.option("--where", help="Only photos that match this SQL expression over the columns of training_table.")
@click.option(
    "--photos", type=click.IntRange(1), default=100_000, show_default=True, help="Number of photos, an even sample of more."
)
@click.option(
    "--thumbnails", type=click.IntRange(0), default=2000, show_default=True, help="Number of thumbnails in the page."
)
@click.option(
    "--thumbnails-mb", type=click.IntRange(0), default=24, show_default=True, help="Size of all thumbnails in the page."
)
@click.option("--titles", is_flag=True, help="Show titles and keys, too: texts by users, which may name people.")
def page(
    output: Path | None,
    serve: bool,
    port: int,
    days: tuple[date, date] | None,
    where: str | None,
    photos: int,
    thumbnails: int,
    thumbnails_mb: int,
    titles: bool,
) -> None:
    """Write a page of all photos: a map, counts that filter each other, thumbnails, neighbours, variants, errors.

    \b
    darkroom explore photos.html
    darkroom explore photos.html --where "split = 'train' and popularity > 3"
    darkroom explore --serve --days 2026-01-01..2026-01-31

    The page is one file that loads nothing: it works offline, and can be sent to somebody. It shows thumbnails without EXIF,
    and pseudonyms instead of users. A selection leaves it as a condition for `--where` or as a list of ids.
    """
    from pipeline_assets.exploration.page import gathering

    if (output is None) != serve:
        raise click.UsageError("name a file to write, or use --serve")
    asked = gathering.Asked(days, where, photos, thumbnails, thumbnails_mb * 2**20, titles=titles)
    with services() as settings:
        made = gathering.made(settings, asked, console.print, is_served=serve)
        if output is not None:
            files.write(output, made.text, mode=0o600)
            console.print(
                f"{output}: {made.photos:,} photos, {made.thumbnails:,} thumbnails, {len(made.text) / 1e6:,.1f} MB."
            )
            return
        from resources.servers.local_page import serving

        with serving(made.text.encode(), made.policy, made.thumbnail, port) as (url, wait):
            console.print(f"{made.photos:,} photos: {url}")
            console.print("Only this machine can open it, with this address. Ctrl-C ends it.")
            wait()
