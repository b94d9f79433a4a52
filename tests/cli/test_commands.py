"""Commands are imported when they are asked for, and all of them are there."""

import subprocess
import sys

import pytest
import typer
from typer.core import TyperGroup

from headgate.cli.commands import NAMES
from headgate.cli.main import app
from tests.cli.command import run_now


def test_every_command_is_found_and_says_what_it_does() -> None:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    commands = root.commands
    assert list(commands) == list(NAMES)
    assert [command.name for command in commands.values()] == list(NAMES)
    assert all(command.get_short_help_str() for command in commands.values())


@pytest.mark.parametrize("name", ["status", "why", "breaker", "release"])
def test_who_asks_for_one_does_not_wait_for_what_others_need(name: str) -> None:
    found = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys, typer; from headgate.cli.main import app; "
            f"typer.main.get_command(app).commands[{name!r}]; print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not {"fastapi", "uvicorn", "headgate.devstack.stack"} & {*found.stdout.split()}


def test_a_group_without_a_command_shows_its_help_and_nothing_else() -> None:
    shown = run_now("breaker")
    assert (shown.returncode, shown.stderr) == (2, "")
    assert "force-open" in shown.stdout
