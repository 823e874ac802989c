"""`darkroom explore notebook`: a marimo notebook on the lake, which this machine alone can open."""

import importlib.util
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import click

from pipeline_assets.commands.session import console, services
from resources import files

READY = Path(__file__).parents[2] / "exploration" / "notebook" / "ready.py"


@click.command()
@click.argument("notebook", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--export", "output", type=click.Path(path_type=Path, dir_okay=False), help="Run it, and write what it shows.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the first free one from 2718.")
@click.option("--headless", is_flag=True, help="Print the address, and open no browser.")
def notebook(notebook: Path | None, output: Path | None, port: int | None, headless: bool) -> None:
    """Open NOTEBOOK (lake.py) in marimo: tables, profiles, the map, slices and suspects, in cells that you change.

    \b
    darkroom explore notebook                          writes lake.py, if there is none, and opens it
    darkroom explore notebook --export lake.html       runs the ready-made one, and writes what it shows

    Whoever has the address that it prints can run code as you: it has a token, and 127.0.0.1 alone is listened on.
    An export is a file that your browser shows with marimo's script from its network; it has the code and all results.
    """
    if importlib.util.find_spec("marimo") is None:
        raise click.ClickException("marimo is not installed: pip install marimo, into the environment of Darkroom.")
    path = notebook or (READY if output else Path("lake.py"))
    if not path.exists() and output is None:
        files.write(path, READY.read_bytes(), mode=0o600)
        console.print(f"Wrote {path}: it is yours.")
    if not path.exists():
        raise click.UsageError(f"{path} does not exist: without a name, the ready-made notebook is run.")
    with services():
        if output is not None:
            _export(path, output)
            console.print(f"{output}: {output.stat().st_size / 1e6:,.1f} MB.")
            return
        words = ["edit", str(path), "--host", "127.0.0.1", "--token", "--no-sandbox", "--skip-update-check"]
        words += [f"--port={port}"] if port else []
        words += ["--headless"] if headless else []
        _serve(words)


def _serve(words: list[str]) -> None:
    """Run marimo until it ends, Ctrl-C or SIGTERM. It ends with this process, whatever becomes of it."""
    from resources.servers.processes import LAUNCHER

    options = ["--cwd", str(Path.cwd()), "--parent", str(os.getpid()), "--death-signal", str(int(signal.SIGTERM))]
    command = [sys.executable, "-I", "-S", str(LAUNCHER), *options, "--keep-umask", "--", *_command(words)]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with subprocess.Popen(command, env=_environment()) as process, suppress(KeyboardInterrupt):  # noqa: S603
            try:
                process.wait()
            finally:
                process.terminate()
    finally:
        signal.signal(signal.SIGTERM, before)


def _export(path: Path, output: Path) -> None:
    """Run a notebook, and write its cells with their results, whole or not at all, for its owner only."""
    part = output.with_name(f".{output.name}.part.html")
    try:
        part.touch(mode=0o600)
        words = ["export", "html", str(path), "--output", str(part), "--force", "--no-sandbox"]
        process = subprocess.run(  # noqa: S603
            _command(words), check=False, env=_environment(), capture_output=True, text=True
        )
        if process.returncode or not part.stat().st_size:
            raise click.ClickException(f"The notebook failed:\n{process.stderr[-2000:]}")
        files.write(output, part.read_bytes(), mode=0o600)
    finally:
        part.unlink(missing_ok=True)


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "marimo", *words]


def _environment() -> dict[str, str]:
    """The settings of this process, for one that reads the lake."""
    return os.environ | {"MARIMO_SKIP_UPDATE_CHECK": "1"}
