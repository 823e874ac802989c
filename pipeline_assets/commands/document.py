"""`darkroom document`: writes docs/tables.md."""

from pathlib import Path

import click


@click.command(hidden=True)
@click.argument("output", type=click.Path(path_type=Path))
def document(output: Path) -> None:
    """Write docs/tables.md: every asset's table schema, generated from the code."""
    from pipeline_assets.commands.tables_page import tables_page

    output.write_text(tables_page())
