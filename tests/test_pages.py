"""The code of the pages: every command is one that there is, with options that it has, and every name that is imported exists.

What can run here is run by `test_page_blocks`; the rest is marked on its page, and held to this alone.
"""

import ast
import importlib
import importlib.util
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline_assets.commands.main import main
from pipeline_assets.labeling.campaigns import campaign

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.M | re.S)
ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "#", ")"}
"""Where a shell's command ends."""
OURS = ("pipeline_assets", "resources", "sensors")


def blocks(page: Path, *languages: str) -> Iterator[str]:
    return (code for language, code in BLOCK.findall(page.read_text()) if language in languages)


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of each call of a program in the shell blocks of a page."""
    for code in blocks(page, "sh"):
        for line in code.replace("\\\n", " ").splitlines():
            for found in re.finditer(rf"(?:^|[\s(]|bin/){program} (?P<rest>.*)", line.split(" # ")[0].split("  #")[0]):
                words = []
                lexer = shlex.shlex(found["rest"].replace("$(", "("), posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                for word in lexer:
                    if word in ENDS or word[0] in ";|&<>)":
                        break
                    words.append(word)
                yield words


def parsed(arguments: list[str]) -> None:
    """Have click parse a command as far as its own options: nothing is run."""
    command: click.Command = main
    context = click.Context(main, info_name="darkroom")
    while isinstance(command, click.Group):
        if not arguments or arguments[0].startswith("-"):
            return
        name, found, arguments = command.resolve_command(context, arguments)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if "--help" in arguments or "..." in arguments:
        return
    command.make_parser(context).parse_args(list(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_that_there_is(page: Path) -> None:
    for arguments in commands(page, "darkroom"):
        try:
            parsed(arguments)
        except click.ClickException as error:
            pytest.fail(f"darkroom {shlex.join(arguments)}: {error.format_message()}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_target_of_make_on_a_page_is_one_that_there_is(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for arguments in commands(page, "make"):
        assert {word for word in arguments if "=" not in word} <= targets, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_that_a_page_imports_is_there(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                assert all(importlib.util.find_spec(alias.name) for alias in node.names), code
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS:
                if "extras" in node.module or node.names[0].name == "assets":
                    continue  # the reader's own
                for alias in node.names:
                    assert is_there(node.module, alias.name), code


def is_there(module: str, name: str) -> bool:
    """Whether a module has a name, which may be a module below it."""
    return hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_value_that_a_page_shows_is_one(page: Path) -> None:
    for code in blocks(page, "json"):
        json.loads(code)
    for code in blocks(page, "yaml"):
        campaign.parse(code, Path(code.partition("\n")[0].removeprefix("# campaigns/")).stem)


def test_the_commands_of_the_pages_are_found() -> None:
    found = [arguments for page in PAGES for arguments in commands(page, "darkroom")]
    assert len(found) > 60
    with pytest.raises(click.ClickException):
        parsed(["status", "--no-such-option"])
    with pytest.raises(click.ClickException, match="No such command"):
        parsed(["no-such-command"])
