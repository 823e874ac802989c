"""A notebook on the lake: its tables, their profiles, the map of photos, slices, suspects. Change it as you like.

    darkroom explore notebook THIS_FILE

Each cell runs again when one that it reads changes. Profiles show no text that people typed; `table` shows all columns.
"""
# mypy: ignore-errors

import marimo

app = marimo.App(width="medium", app_title="Darkroom")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import polars as pl

    from pipeline_assets.exploration import frames

    return alt, frames, mo, pl


@app.cell
def _(frames, mo, pl):
    names = frames.tables()
    days_of = {name: frames.rows(name).days for name in names}
    tables = pl.DataFrame(
        [(name, len(days), min(days, default=None), max(days, default=None)) for name, days in days_of.items()],
        schema={"table": pl.String, "days": pl.Int64, "first_day": pl.Date, "last_day": pl.Date},
        orient="row",
    )
    mo.vstack([mo.md("# The lake\n## Tables"), tables])
    return (names,)


@app.cell
def _(frames):
    def newest(name):
        """The rows of the newest day that has some; None without the table or without rows."""
        days = frames.rows(name).days if name in frames.tables() else ()
        return frames.rows(name, days=(days[-1], days[-1])).polars().collect() if days else None

    return (newest,)


@app.cell
def _(mo, names):
    table = mo.ui.dropdown(names, label="table")
    where = mo.ui.text(label="where (SQL)", placeholder="split = 'train' and popularity > 3", full_width=True)
    mo.vstack([mo.md("## Rows"), mo.hstack([table, where], widths=[1, 3])])
    return table, where


@app.cell
def _(frames, mo, table, where):
    mo.stop(table.value is None, mo.md("*Choose a table.*"))
    frames.rows(table.value, where=where.value or None).polars().head(200).collect()
    return


@app.cell
def _(mo, newest, pl):
    profiles = newest("table_profiles")
    shown = ["table", "column", "kind", "rows", "nulls", "distinct", "minimum", "mean", "maximum"]
    of_profiles = "*No profiles yet: `darkroom run`.*" if profiles is None else profiles.select(pl.col("day"), *shown)
    mo.vstack([mo.md("## Profiles of the newest day"), of_profiles])
    return


@app.cell
def _(mo, newest, pl):
    drift = newest("drift")
    columns = ["day", "table", "column", "psi", "ks", "mmd", "change", "p_adjusted", "is_alarm"]
    largest = (
        "*No drift yet.*" if drift is None else drift.select(columns).sort(pl.col("p_adjusted"), nulls_last=True).head(20)
    )
    mo.vstack([mo.md("## What has changed most"), largest])
    return


@app.cell
def _(alt, mo, newest):
    places = newest("embedding_map")
    if places is None:
        of_map = mo.md("*No map yet.*")
    else:
        points = places.select("x", "y", "cluster", "photo_id").sample(min(places.height, 5_000), seed=0)
        axis = alt.Axis(labels=False, ticks=False, title=None)
        dots = alt.Chart(points).mark_circle(size=20).encode(alt.X("x", axis=axis), alt.Y("y", axis=axis), color="cluster:N")
        of_map = mo.ui.altair_chart(dots.properties(width=600, height=500))
    mo.vstack([mo.md("## Photos, near ones alike\nDrag over points to select them."), of_map])
    return (of_map,)


@app.cell
def _(mo, of_map):
    chosen = getattr(of_map, "value", None)
    mo.stop(chosen is None or not len(chosen), mo.md("*No photo is selected.*"))
    ids = ", ".join(str(number) for number in chosen["photo_id"].drop_nulls().sort())
    mo.md(f"Selected, as a condition for `--where`:\n```sql\nphoto_id in ({ids})\n```")
    return


@app.cell
def _(mo, newest, pl):
    slices = newest("slices")
    weak = ["day", "slice", "rows", "share", "error_inside", "error_outside", "p_corrected", "is_weak"]
    of_slices = "*No slice was found.*" if slices is None else slices.select(weak).sort(pl.col("p_corrected"))
    mo.vstack([mo.md("## Where the model is worse"), of_slices])
    return


@app.cell
def _(mo, newest, pl):
    suspects = newest("label_suspects")
    asked = ["day", "campaign", "sha256", "given", "suggested", "score", "kind", "why"]
    of_suspects = (
        "*No label is suspect.*" if suspects is None else suspects.select(asked).sort(pl.col("score"), descending=True)
    )
    mo.vstack([mo.md("## Labels that are probably wrong"), of_suspects])
    return


if __name__ == "__main__":
    app.run()
