"""A comparison as one HTML page: no script, no request to anywhere, every picture an SVG in it. Its text is `page.html`."""

from pathlib import Path
from typing import Any

import jinja2

from pipeline_assets.runtime.visible import visible
from pipeline_assets.versioning.diff import diff_text
from pipeline_assets.versioning.diff.comparison import Comparison, Drift

WIDTH = 320


def page(found: Comparison) -> str:
    """The page's text. Names, paths and values come from data and are escaped."""
    environment = jinja2.Environment(
        autoescape=True, finalize=_shown, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    return template.render(
        found=found,
        schema=diff_text.told_columns(found.columns) if found.columns else [],
        plots=[_plot(one) for one in found.drift or () if one.psi or one.ks],
        files=_files(found),
        origin=_origin(found),
        side=diff_text.told_side,
        rows=diff_text.told_rows,
        label=diff_text.told_label,
        key=diff_text.told_key,
    )


def _shown(value: Any) -> Any:
    """Foreign text with its control characters visible: some turn the line around. What is markup of ours already stays."""
    return visible(value) if type(value) is str else value


def _plot(one: Drift) -> dict[str, Any]:
    """Shares before as filled bars, shares after as outlined ones over them. bars: name, left, width, and both shares."""
    facts = [f"PSI {one.psi:.4f}"] + ([f"KS {one.ks:.4f}"] if one.ks is not None else [])
    if one.mean_before is not None and one.mean_after is not None:
        facts.append(f"mean {one.mean_before:.4g} \N{RIGHTWARDS ARROW} {one.mean_after:.4g}")
    if one.missing_before or one.missing_after:
        facts.append(f"missing {one.missing_before:.1%} \N{RIGHTWARDS ARROW} {one.missing_after:.1%}")
    step = WIDTH / max(len(one.bins), 1)
    shares = zip(one.bins, one.before, one.after, strict=True)
    is_range = one.ks is not None
    ends = f"{one.bins[0].split(' to ')[0]} to {one.bins[-1].split(' to ')[-1]}" if is_range else ", ".join(one.bins)
    return {
        "column": one.column,
        "facts": ", ".join(facts),
        "top": max([*one.before, *one.after, 1e-9]),
        "bars": [(name, at * step + 1, step - 2, before, after) for at, (name, before, after) in enumerate(shares)],
        "ends": ends[:90],
    }


def _files(found: Comparison) -> list[str]:
    files = found.files
    kinds = (("added", files.added_paths), ("removed", files.removed_paths), ("changed", files.changed_paths))
    return [f"{kind}: {path}" for kind, paths in kinds for path in paths]


def _origin(found: Comparison) -> list[str]:
    return [
        diff_text.told_code(found.code),
        *(f"model {kind}: {diff_text.arrow(*pair)}" for kind, pair in found.models.items()),
        *(
            f"{table.table}: version {diff_text.arrow(table.version_before, table.version_after)}, "
            f"rows {diff_text.arrow(table.rows_before, table.rows_after)}{', the same rows' if table.is_same else ''}"
            for table in found.tables
        ),
    ]
