"""`darkroom label up`, `push`, `pull` and `status`: Label Studio."""

import json
from contextlib import nullcontext

import click

from pipeline_assets.commands.session import console, services, settings_of_home


def _tell(line: str) -> None:
    console.print(line, markup=False)


@click.command()
@click.option("--password", is_flag=True, help="Print the password, too.")
def up(password: bool) -> None:
    """Start Label Studio, with the services, and leave it running.

    The first time it is installed into an environment of its own (1 GB) and makes its database, which takes some minutes. It
    listens on 127.0.0.1 only. `darkroom down` stops it; the next start finds the same projects.

    With DARKROOM_LABEL_STUDIO_URL and DARKROOM_LABEL_STUDIO_TOKEN set, this only checks that yours answers.
    """
    from pipeline_assets.labeling.exchange.label_studio import LabelStudio
    from resources.servers import label_studio, labeling
    from resources.servers.services import start

    settings = start(settings_of_home())
    account = labeling.start(settings, _tell)
    with LabelStudio(account.url, account.token) as client:
        client.whoami()
    _tell(f"Label Studio answers at {account.url}")
    if account.username:
        shown = account.password if password else f"in {settings.home / label_studio.NAME / 'account.json'}, or --password"
        _tell(f"Log in as {account.username}; the password: {shown}")
    _tell("Ask a campaign: darkroom label push CAMPAIGN.  Get the answers: darkroom label pull CAMPAIGN.")


@click.command()
@click.argument("campaign")
@click.option("--dry-run", is_flag=True, help="Send nothing: print how many tasks would be sent, and the first three.")
@click.option("--where", help="Only photos that match this SQL expression over the columns of training_table.")
def push(campaign: str, dry_run: bool, where: str | None) -> None:
    """Send the tasks of CAMPAIGN that were not asked yet to its project in Label Studio.

    \b
    darkroom label push sharpness --dry-run      what would be sent
    darkroom label push sharpness
    darkroom label push sharpness --where "top_class = 'moped' and brightness < 0.2"

    The tasks are those of the table `label_tasks`, by priority; known answers (gold) are strewn among them, and nothing
    tells them apart. Each task is sent once, whatever is interrupted: call it again to continue. A new version of a question
    gets a new project.
    """
    from pipeline_assets.labeling.campaigns.campaign import named, read
    from pipeline_assets.labeling.exchange import studio
    from pipeline_assets.labeling.exchange.store import requested
    from resources.assembly import resolve

    with services() as settings:
        asked = named(read(settings.campaigns), campaign)
        database = resolve(settings)["database"]
        asks, unfit = studio.planned(settings, asked, where)
        if unfit:
            _tell(f"{unfit:,} tasks are left out: other media than the interface's first, or a key with ? or #.")
        if dry_run:
            name = studio.found_name(settings)
            known = requested(database, name, asked) if name else {}
            new = [ask for ask in asks if known.get(ask.key) is None]
            _tell(f"Would send {len(new):,} of {len(asks):,} tasks of {campaign}, version {asked.version}; the first:")
            for ask in new[:3]:
                _tell(json.dumps(ask.task, ensure_ascii=False)[:600])
            return
        with studio.opened(settings, database, _tell) as tool:
            pushed = studio.push_campaign(settings, tool, asked, where=where)
    parts = [f"{pushed.sent:,} tasks sent", f"{pushed.asked_before:,} asked before"]
    parts += [f"{pushed.found:,} of an interrupted push found"] if pushed.found else []
    parts += [f"{pushed.mended:,} lost parts sent again"] if pushed.mended else []
    parts += [f"{pushed.doubles:,} doubles deleted"] if pushed.doubles else []
    _tell(f"{campaign}, version {asked.version}: {', '.join(parts)}.")


@click.command()
@click.argument("campaign")
@click.option("--complete", is_flag=True, help="Compare all ids, too: finds tasks that were deleted in Label Studio.")
def pull(campaign: str, complete: bool) -> None:
    """Fetch new, edited and deleted answers of CAMPAIGN from Label Studio, of all its versions.

    Each edit arrives once, whatever is interrupted: call it again to continue. Names of people stay in Label Studio; tables
    show pseudonyms. The answers become rows of `label_votes` with the next run.
    """
    from pipeline_assets.labeling.exchange import studio
    from resources.assembly import resolve

    with services() as settings, studio.opened(settings, resolve(settings)["database"], _tell) as tool:
        pulled = studio.pull_campaign(settings, tool, campaign, compared={} if complete else None)
    landed = pulled.landed
    parts = [f"{landed.new:,} new answers", f"{landed.revised:,} edited", f"{pulled.deleted:,} deleted"]
    parts += [f"{pulled.unreadable:,} unreadable (label_votes_rejected says why)"] if pulled.unreadable else []
    parts += [f"{pulled.foreign:,} tasks that Darkroom did not send ignored"] if pulled.foreign else []
    _tell(f"{campaign}: {', '.join(parts)}.")


@click.command()
@click.argument("campaign", required=False)
def status(campaign: str | None) -> None:
    """Print how CAMPAIGN, or each campaign, stands: tasks asked, answers here and in Label Studio."""
    from pipeline_assets.labeling.exchange import studio
    from resources.assembly import resolve
    from resources.servers import labeling

    with services() as settings:
        database = resolve(settings)["database"]
        name = studio.found_name(settings)
        if name is None:
            _tell("Label Studio was never started here: darkroom label up.")
            return
        is_up = labeling.found(settings) is not None
        with studio.opened(settings, database, _tell) if is_up else nullcontext() as tool:
            counts = studio.counts_of(database, name, tool, campaign)
    _tell("Label Studio runs." if is_up else "Label Studio does not run: darkroom label up.")
    for one in counts:
        there = "" if one.in_tool is None else f"; in Label Studio {one.in_tool[0]:,} tasks, {one.in_tool[1]:,} answers"
        project = one.project
        _tell(f"{project.campaign}, version {project.version}: {one.asked:,} asked, {one.answers:,} answers here{there}")
    if not counts:
        _tell("Nothing was asked yet: darkroom label push CAMPAIGN.")
