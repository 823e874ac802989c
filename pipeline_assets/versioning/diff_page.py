"""A comparison as one HTML page: no script, no request to anywhere, every picture an SVG in it."""

from collections.abc import Iterable
from html import escape

from pipeline_assets.versioning import diff_text
from pipeline_assets.versioning.comparison import ColumnChange, Comparison, Drift, Rows

BEFORE, AFTER = "#8fa3b5", "#d1495b"
FILLED, OUTLINED = f'fill="{BEFORE}"', f'fill="none" stroke="{AFTER}" stroke-width="1.5"'
WIDTH, HEIGHT = 320, 96
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #22262b; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse } .v { font-family: ui-monospace, monospace; font-size: 13px } .n { text-align: right }
td, th { padding: .2rem .8rem .2rem 0; text-align: left; border-bottom: 1px solid #e6e9ec; vertical-align: top }
.plots { display: flex; flex-wrap: wrap; gap: 1.2rem } figure { margin: 0; width: 320px }
figcaption { font-size: 13px } figcaption b { font-size: 14px } .key { color: #6b737c }
svg { display: block; width: 100%; height: auto }
"""


def page(found: Comparison) -> str:
    """The page's text. Names, paths and values come from data and are escaped."""
    body = [
        f"<h1>{escape(found.a.told)} against {escape(found.b.told)}</h1>",
        f"<p>A: {escape(diff_text.told_side(found.a))}<br>B: {escape(diff_text.told_side(found.b))}</p>",
    ]
    if found.is_empty:
        body.append("<p><b>The data are the same.</b></p>")
    if found.rows:
        body += _rows(found.rows)
    if found.columns:
        told = diff_text.told_columns(found.columns)
        body += ["<h2>Schema</h2>", _list(told)] if told else []
    if found.drift is not None:
        body += _drift(found.drift)
    body += _files(found)
    body += _origin(found)
    title = escape(f"{found.a.told} against {found.b.told}")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _rows(rows: Rows) -> list[str]:
    found = ["<h2>Rows</h2>", f"<p>{escape(diff_text.told_rows(rows))}</p>"]
    for title, keys in (("Added", rows.added_keys), ("Removed", rows.removed_keys)):
        if keys:
            found.append(f"<p>{title}, the first: {'; '.join(escape(diff_text.told_key(key)) for key in keys)}</p>")
    if rows.labels:
        found.append("<h2>Labels</h2>")
        found += [f"<p>{escape(diff_text.told_label(label))}</p>" for label in rows.labels]
        found.append(_examples(rows.labels))
    if rows.columns:
        found += ["<h2>Columns with other values</h2>", _examples(rows.columns)]
    return found


def _examples(columns: Iterable[ColumnChange]) -> str:
    lines = []
    for column in columns:
        for number, one in enumerate(column.examples or [None]):
            name = (
                f'<td>{escape(column.column)}</td><td class="n">{column.rows:,}</td>' if not number else "<td></td><td></td>"
            )
            told = (diff_text.told_key(one.key), str(one.before), str(one.after)) if one else ("", "", "")
            lines.append(f"<tr>{name}" + "".join(f'<td class="v">{escape(text)}</td>' for text in told) + "</tr>")
    head = '<tr><th>column</th><th class="n">rows</th><th>such as</th><th>before</th><th>after</th></tr>'
    return f"<table>{head}{''.join(lines)}</table>"


def _drift(drift: list[Drift]) -> list[str]:
    moved = [one for one in drift if one.psi or one.ks]
    if not moved:
        return ["<h2>Drift</h2>", "<p>None: no column of numbers or categories has moved.</p>"]
    told = (
        "PSI: population stability index on deciles of the version before, or on categories; by custom little below 0.1 "
        "and much above 0.25. KS: the largest distance of the two distribution functions."
    )
    legend = f'<span style="color:{BEFORE}">&#9632;</span> before <span style="color:{AFTER}">&#9632;</span> after'
    return ["<h2>Drift</h2>", f"<p>{told} {legend}</p>", f'<div class="plots">{"".join(map(_plot, moved))}</div>']


def _plot(one: Drift) -> str:
    """Shares before as filled bars, shares after as outlined ones over them."""
    facts = [f"PSI {one.psi:.4f}"] + ([f"KS {one.ks:.4f}"] if one.ks is not None else [])
    if one.mean_before is not None and one.mean_after is not None:
        facts.append(f"mean {one.mean_before:.4g} &rarr; {one.mean_after:.4g}")
    if one.missing_before or one.missing_after:
        facts.append(f"missing {one.missing_before:.1%} &rarr; {one.missing_after:.1%}")
    top = max([*one.before, *one.after, 1e-9])
    step = WIDTH / max(len(one.bins), 1)
    bars = []
    for number, (name, before, after) in enumerate(zip(one.bins, one.before, one.after, strict=True)):
        left, width = number * step + 1, step - 2
        told = f"<title>{escape(name)}: {before:.2%}, then {after:.2%}</title>"
        bars.append(f"<g>{told}{_bar(left, width, before / top, FILLED)}{_bar(left, width, after / top, OUTLINED)}</g>")
    ends = (
        f"{one.bins[0].split(' to ')[0]} to {one.bins[-1].split(' to ')[-1]}" if one.ks is not None else ", ".join(one.bins)
    )
    return (
        f"<figure><figcaption><b>{escape(one.column)}</b><br>{', '.join(facts)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(one.column)}">{"".join(bars)}</svg>'
        f'<figcaption class="key">{escape(ends[:90])}</figcaption></figure>'
    )


def _bar(left: float, width: float, share: float, paint: str) -> str:
    height = max((HEIGHT - 2) * share, 0.5)
    return f'<rect x="{left:.1f}" y="{HEIGHT - height:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" {paint}/>'


def _files(found: Comparison) -> list[str]:
    files = found.files
    counts = f"{files.added:,} added, {files.removed:,} removed, {files.changed:,} changed"
    told = [f"added: {path}" for path in files.added_paths]
    told += [f"removed: {path}" for path in files.removed_paths]
    told += [f"changed: {path}" for path in files.changed_paths]
    return ["<h2>Files</h2>", f"<p>{counts}</p>", _list(told)]


def _origin(found: Comparison) -> list[str]:
    told = [diff_text.told_code(found.code)]
    told += [f"model {kind}: {diff_text.arrow(*pair)}" for kind, pair in found.models.items()]
    told += [
        f"{table.table}: version {diff_text.arrow(table.version_before, table.version_after)}, "
        f"rows {diff_text.arrow(table.rows_before, table.rows_after)}{', the same rows' if table.is_same else ''}"
        for table in found.tables
    ]
    return ["<h2>Code, models, tables</h2>", _list(told)]


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
