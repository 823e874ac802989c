"""How a command ends early."""

from click.testing import CliRunner

from pipeline_assets.commands.session import Commands


def test_ctrl_c_ends_a_command_with_a_sentence() -> None:
    group = Commands("darkroom")

    @group.command()
    def work() -> None:
        raise KeyboardInterrupt

    ended = CliRunner().invoke(group, ["work"])
    assert ended.exit_code == 1
    assert ended.stderr == "Error: Interrupted. Finished work is kept: run the command again to continue.\n"
