"""`darkroom stream`: takes events as they happen, for the features of `darkroom serve` and for the lake's log."""

import json

import click

from pipeline_assets.commands.session import console, services, settings_of_home
from pipeline_assets.runtime.terminal import VisibleCommands, data_output


@click.group(cls=VisibleCommands, invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need TLS and a token.")
@click.option("--port", default=8901, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on.")
@click.pass_context
def stream(context: click.Context, host: str, port: int) -> None:
    """Take events over HTTP, and from a Redis stream, until Ctrl-C.

    \b
    darkroom stream
    curl http://127.0.0.1:8901/v1/events -H 'content-type: application/json' \\
      -d '[{"event_id": "e-1", "user_id": 1, "photo_id": 7, "kind": "view", "at": "2026-01-31T18:02:11Z"}]'

    An event is a line of the lake's log without `arrived_at`, which is stamped here. The answer 202 says that the
    events are on the disk; the online features have them about a second later, and the lake's log within a minute. Send
    a batch again if no answer came: an event counts once for its event_id. Lines that break the contract are set aside
    with the reason: see `darkroom stream dead`. With DARKROOM_STREAM_REDIS_URL, events are read from Redis, too.
    """
    if context.invoked_subcommand is not None:
        return
    from pipeline_assets.serving.stream.running import run

    with services() as settings:
        run(settings, host, port, lambda line: console.print(line))


@stream.command()
@click.option("--last", default=20, show_default=True, type=click.IntRange(1), help="How many, newest last.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with the texts.")
def dead(last: int, as_json: bool) -> None:
    """List events that were not taken, with the reason.

    The newest 16 to 32 MiB are kept. To send one again after mending it, take its text from `--json`.
    """
    from pipeline_assets.serving.stream.dead_letters import DeadLetters

    letters = list(DeadLetters(settings_of_home().home / "stream"))[-last:]
    for letter in letters:
        if as_json:
            click.echo(json.dumps(letter), file=data_output())
        else:
            console.print(f"{letter['arrived_at'][:19]}  {letter['source']}  {letter['reason']}: {letter['detail']}")
    if not letters:
        console.print("No dead letters.")
