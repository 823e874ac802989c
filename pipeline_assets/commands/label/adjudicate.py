"""`darkroom label adjudicate`: decide, one by one, what annotators did not agree on."""

import getpass
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline_assets.commands.session import console, services
from resources.errors import ObjectError

if TYPE_CHECKING:
    from pipeline_assets.labeling.campaigns.campaign import Campaign
    from pipeline_assets.labeling.exchange.adjudication import Dispute
    from resources.objects.store import ObjectStore


@click.command()
@click.argument("name", metavar="CAMPAIGN")
@click.option("--list", "only_list", is_flag=True, help="List what is to be decided, and decide nothing.")
@click.option(
    "--photos", type=click.Path(path_type=Path, file_okay=False), help="Save each item to this folder, to look at."
)
@click.option("--as", "who", default=None, help="Your name; the tables show a pseudonym. Default: the user of this system.")
def adjudicate(name: str, only_list: bool, photos: Path | None, who: str | None) -> None:
    """Decide the items of CAMPAIGN on which annotators did not agree.

    \b
    darkroom label adjudicate sharpness --list
    darkroom label adjudicate sharpness --photos ./to-decide

    Each item is shown with its answers. Choose one of them, write a class, or skip the item. A decision counts from the
    next computation of the day on (`darkroom refresh`, or the automation of `darkroom ui`), and stays if you end here.
    """
    from pipeline_assets.labeling.campaigns.campaign import named, usable
    from pipeline_assets.labeling.exchange import adjudication
    from resources.assembly import resolve

    with services() as settings:
        campaign = named(usable(settings.campaigns)[0], name)
        resources = resolve(settings)
        open_items = adjudication.disputes(resources["lake"], resources["database"], campaign)
        console.print(f"{campaign.question} {len(open_items):,} items to decide.")
        decided = 0
        for number, dispute in enumerate(open_items, 1):
            _show(campaign, dispute, number, photos, resources["uploads"].store)
            if only_list:
                continue
            labels = _ask(campaign, dispute)
            if labels == "q":
                break
            if labels:
                adjudication.decide(
                    resources["database"], campaign, dispute, labels, who or getpass.getuser(), datetime.now(UTC)
                )
                decided += 1
        if not only_list:
            console.print(f"{decided:,} decided. `darkroom refresh` computes their days.")


def _show(campaign: "Campaign", dispute: "Dispute", number: int, photos: Path | None, uploads: "ObjectStore") -> None:
    console.print(f"\n{number}. {dispute.key} ({dispute.target})")
    console.print(f"   {dispute.reason}")
    if photos is not None and dispute.target == "upload":
        photos.mkdir(parents=True, exist_ok=True)
        # The name is of ours: a key may be any text.
        place = photos / f"{number:04}-{dispute.task_key[:12]}{_ending(dispute.key)}"
        try:
            data = uploads.get(dispute.key)
        except ObjectError as error:
            console.print(f"   can't be read: {error}")
        else:
            place.write_bytes(data)
            is_same = hashlib.sha256(data).hexdigest() == dispute.sha256
            console.print(
                f"   saved as {place}" + ("" if is_same else ", but it is another content than the one asked about")
            )
    for at, (answer, people) in enumerate(_answers(dispute), 1):
        console.print(f"   [{at}] {answer:.200}   ({people})")


def _ending(key: str) -> str:
    ending = Path(key).suffix.lower()
    return ending if ending in (".jpg", ".jpeg", ".png", ".webp", ".gif", ".wav", ".mp4", ".heic", ".tif") else ""


def _answers(dispute: "Dispute") -> list[tuple[str, str]]:
    """Different answers, the most frequent first, with those who gave them."""
    people: dict[str, list[str]] = {}
    for person, answer in dispute.given.items():
        people.setdefault(answer, []).append(person)
    return sorted(((answer, ", ".join(who)) for answer, who in people.items()), key=lambda one: (-one[1].count(","), one[0]))


def _ask(campaign: "Campaign", dispute: "Dispute") -> str | dict[str, str]:
    """The chosen answer, `q` to end, or an empty text to skip the item."""
    answers = _answers(dispute)
    # Of a class that is called like a number of the list, or s, or q, the list and its letters come first.
    accepted: dict[str, str | dict[str, str]] = {}
    if campaign.kind == "class":
        accepted |= {name: {"choice": name} for name in campaign.classes}
    accepted |= {str(at): answer for at, (answer, _) in enumerate(answers, 1)} | {"s": "", "q": "q"}
    words = ", ".join(campaign.classes) if campaign.kind == "class" else "the number of an answer"
    chosen = click.prompt(f"   {words}; s to skip, q to end", value_proc=_one_of(accepted), type=str, default="s")
    return accepted[chosen]


def _one_of(accepted: dict[str, str | dict[str, str]]) -> Callable[[str], str]:
    def chosen(text: str) -> str:
        if text.strip() not in accepted:
            raise click.BadParameter(f"answer one of {', '.join(accepted)}")
        return text.strip()

    return chosen
