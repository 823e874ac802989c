"""The `darkroom` command in the process of a test, which saves its imports; and the environment that it finds."""

import os
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from pipeline_assets.commands.main import main

SETTINGS = ("DARKROOM_", "AWS_", "DAGSTER")


def outer_environment() -> dict[str, str]:
    """The environment of the tests without settings of Darkroom, of AWS and of Dagster."""
    return {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}


@contextmanager
def environment_of(environment: Mapping[str, str]) -> Iterator[None]:
    """Exactly this environment for a block. What the block exports is taken back."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(environment)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def invoke(environment: Mapping[str, str], *words: str, folder: Path | None = None, answer: str = "") -> Result:
    """Run `darkroom` in a folder, by default this one. answer: what a person types."""
    with chdir(folder or Path.cwd()), environment_of(environment):
        return CliRunner().invoke(main, words, input=answer)
