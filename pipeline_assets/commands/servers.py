"""`darkroom up`, `down` and `env`: the services."""

import click

from pipeline_assets.commands.session import console, settings_of_home
from resources.home import open_to_all
from resources.settings import plain, shell_lines


@click.command()
def up() -> None:
    """Start the services and leave them running.

    Starts PostgreSQL and S3, migrates the database, and creates buckets and Dagster's home.
    """
    from resources.servers.services import start

    settings = settings_of_home()
    settings = start(settings)
    where = "embedded, under " + str(settings.home) if settings.embedded else "yours, from the environment"
    if settings.uses_sqlite:
        s3 = f"S3 is up ({where})" if "s3://" in settings.uploads_url + settings.lake_url else "folders: no server is needed"
        console.print(f"The database is {plain(settings.database_url)}; {s3}.")
    else:
        console.print(f"PostgreSQL and S3 are up ({where}).")
    for url in filter(open_to_all, (settings.uploads_url, settings.lake_url)):
        folder = url.removeprefix("file://")
        console.print(f"Every user of this machine can read {folder}. To prevent it: chmod o= {folder}", markup=False)
    console.print('For your own tools: eval "$(darkroom env)".  UI: darkroom ui.  Stop: darkroom down.')


@click.command()
@click.option("--delete", is_flag=True, help="Also delete all data in .darkroom/, after confirmation.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def down(delete: bool, yes: bool) -> None:
    """Stop the embedded services.

    Stops them even if they are in use, and prints which processes used them. Without --delete the data stay.
    """
    from resources.servers.services import delete_home, home_size, stop

    settings = settings_of_home()
    has_run, users = stop(settings)
    for user in users if has_run else ():
        console.print(f"Was in use by process {user.pid}: {user.command}")
    console.print("Stopped." if has_run else "Nothing was running.")
    if delete:
        if not settings.home.exists():
            console.print(f"{settings.home} does not exist: nothing to delete.")
            return
        size = home_size(settings)
        if yes or click.confirm(f"Delete {settings.home} with {size / 2**20:,.0f} MB of objects, tables and ledgers?"):
            delete_home(settings)
            console.print(f"Deleted {settings.home}.")
        else:
            console.print("Nothing was deleted.")


@click.command()
def env() -> None:
    """Print the services' addresses as `export` lines.

    With these lines in your shell, psql, aws, rclone and duckdb use the running services.

    \b
    eval "$(darkroom env)"
    psql "$DATABASE_URL"            aws s3 ls s3://uploads/
    rclone ls darkroom:uploads      duckdb   (its httpfs reads the AWS_ variables)

    The lines contain secrets: do not write them to a log.
    """
    from resources.servers.embedded import Services

    settings = settings_of_home()
    if settings.wants_embedded:
        servers = Services(settings.home, settings.embedded_servers)
        if not servers.status().running:
            raise click.ClickException("no services are running: start them with `darkroom up`")
        settings = settings.having(servers.endpoints().settings())
    for line in shell_lines(settings):
        click.echo(line)
