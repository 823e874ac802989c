"""`docs/benchmarks.md`, written from the results' JSON: one table of every figure, its target and whether it was met.

python -m benchmarks.page [--results FOLDER] [--page FILE]
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, ROOT, number, verdict

PAGE = ROOT / "docs" / "benchmarks.md"
INTRODUCTION = """\
# Benchmarks

`make bench` writes this page from its results; do not edit it. Each figure is the median of repeats that alternate with
those of its rival in the same run. Targets were set before measuring. [Performance](performance.md) explains the figures.
"""


def page(results: Sequence[dict[str, Any]], missing: Sequence[str] = ()) -> str:
    """The page as Markdown. results: as `figures.write` keeps them; missing: benchmarks that gave no result."""
    lines = [INTRODUCTION]
    verdicts = [figure["ok"] for result in results for figure in result["figures"] if figure["ok"] is not None]
    lines.append(f"{sum(verdicts)} of {len(verdicts)} targets met.\n")
    lines += ["| benchmark | figure | value | target | | note |", "| --- | --- | ---: | --- | --- | --- |"]
    for result in results:
        for figure in result["figures"]:
            value = f"{number(figure['value'])} {figure['unit']}".strip() if figure["value"] is not None else "not measured"
            cells = [
                result["benchmark"],
                figure["name"],
                value,
                figure["target"] or "",
                verdict(figure["ok"]),
                figure["note"],
            ]
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [f"| {name} | | not measured | | missed | no result: it was not run, or failed |" for name in missing]
    lines += ["", "## Commands, machines", ""]
    for machine, group in _by_machine(results):
        lines += [machine, "", "| benchmark | command | measured | commit |", "| --- | --- | --- | --- |"]
        for result in group:
            commands = "<br>".join(f"`{command}`" for command in dict.fromkeys(f["command"] for f in result["figures"]))
            lines.append(
                f"| {result['benchmark']} | {commands} | {result['measured_at'][:16]}Z | {result['commit'] or ''} |"
            )
        lines.append("")
    return "\n".join(lines)


def read(folder: Path, order: Sequence[str]) -> list[dict[str, Any]]:
    """All results of a folder, those in `order` first."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    place = {name: index for index, name in enumerate(order)}
    return sorted(results, key=lambda result: place.get(result["benchmark"], len(place)))


def write(folder: Path, target: Path, order: Sequence[str]) -> None:
    """Write the page of a folder's results; a benchmark of `order` without a result is named as failed."""
    results = read(folder, order)
    measured = {result["benchmark"] for result in results}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(results, [name for name in order if name not in measured]), encoding="utf-8")


def describe(machine: dict[str, Any]) -> str:
    """One sentence on a machine."""
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores{flags}, {machine['memory_gb']} GB; {machine['system']}; "
        f"Python {machine['python']}; {packages}."
    )


def _by_machine(results: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(describe(result["machine"]), []).append(result)
    return list(groups.items())


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Write the page."""
    from benchmarks.__main__ import BENCHMARKS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    write(options.results, options.page, BENCHMARKS)


if __name__ == "__main__":
    main()
