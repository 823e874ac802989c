"""What a person types when they decide on a disputed answer."""

import click
import pytest
from click.testing import CliRunner

from pipeline_assets.commands.label import adjudicate
from pipeline_assets.labeling.campaigns.campaign import parse
from pipeline_assets.labeling.exchange.adjudication import Dispute

NUMBERS = parse('question: How many?\nkind: class\nclasses: ["1", "2", "3", s, q]\n', "numbers")
DISPUTE = Dispute("a" * 64, "k", "upload", "b" * 64, "", None, {"ann": '{"choice":"3"}', "bob": '{"choice":"2"}'})


def chosen(typed: str) -> str:
    @click.command()
    def ask() -> None:
        click.echo(f"<{adjudicate._ask(NUMBERS, DISPUTE)!r}>")

    done = CliRunner().invoke(ask, input=typed)
    return done.output.split("<")[-1].split(">")[0] if "<" in done.output else f"exit {done.exit_code}"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("1\n", '\'{"choice":"2"}\''),  # the first of the list, although there is a class of that name
        ("2\n", '\'{"choice":"3"}\''),
        ("3\n", "{'choice': '3'}"),
        ("s\n", "''"),
        ("\n", "''"),
        ("q\n", "'q'"),
        ("4\nq\n", "'q'"),
        ("", "exit 1"),
    ],
)
def test_numbers_of_the_list_and_letters_come_before_classes(typed: str, answer: str) -> None:
    assert chosen(typed) == answer
