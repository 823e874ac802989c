"""`darkroom serve`: predictions and features over HTTP; its tokens."""

from importlib.metadata import version

import click

from pipeline_assets.commands.session import console, services, settings_of_home
from pipeline_assets.runtime.terminal import VisibleCommands


@click.group(cls=VisibleCommands, invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others need TLS and a token.")
@click.option("--port", default=8900, show_default=True, type=click.IntRange(0, 65535), help="0: a free one.")
@click.option("--pin", metavar="NAME", help="Serve this model, and no newer one: a night, a pin, or a sha256's beginning.")
@click.option("--shadow", metavar="NAME", help="Score every ask with this model, too: it is logged, and not answered.")
@click.pass_context
def serve(context: click.Context, host: str, port: int, pin: str | None, shadow: str | None) -> None:
    """Answer how popular a photo will be, over HTTP, until Ctrl-C.

    \b
    darkroom serve
    curl -F user_id=1 -F photo=@photo.jpg http://127.0.0.1:8900/v1/predict

    Refuses to start if a photo scored alone differs from the batch pipeline. A new night's model is taken over while it
    runs. On 127.0.0.1 no token is needed until one is added; see docs/serving.md.
    """
    if context.invoked_subcommand is not None:
        return
    from pipeline_assets.serving.endpoint.running import Asked, serve

    with services() as settings:
        serve(settings, Asked(pin, shadow), (host, port), version("darkroom"), lambda line: console.print(line))


@serve.group(cls=VisibleCommands)
def token() -> None:
    """Bearer tokens of `darkroom serve`: several may be valid, and a running server sees changes at once."""


@token.command("add")
@click.argument("name")
def add(name: str) -> None:
    """Add a token, and print it: it is shown this once, and only its hash is kept."""
    from resources.servers.bearer_tokens import BearerTokens

    try:
        text = BearerTokens(settings_of_home().serve_tokens).add(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(text)


@token.command("list")
def list_() -> None:
    """Print the names of the valid tokens, and when they were added."""
    from resources.servers.bearer_tokens import BearerTokens

    for one in BearerTokens(settings_of_home().serve_tokens).all():
        click.echo(f"{one.name}  {one.created_at}")


@token.command("revoke")
@click.argument("name")
def revoke(name: str) -> None:
    """Make a token invalid at once."""
    from resources.servers.bearer_tokens import BearerTokens

    BearerTokens(settings_of_home().serve_tokens).revoke(name)
