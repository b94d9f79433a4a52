"""``headgate export``: the applied configuration, as ``headgate apply`` takes it back."""

import asyncio
import json
from pathlib import Path

import typer

from headgate.cli import options
from headgate.cli.options import reading
from headgate.cli.tables import print_json, say
from headgate.gate.clock import now_ms
from headgate.model.configuration import Configuration
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.times import utc
from headgate.store.configuration import ConfigurationStore
from headgate.view.exported import plain, to_yaml


def command(
    output: Path | None = typer.Option(
        None, "-o", "--output", help="Write it into this file; it must not be there yet."
    ),
    as_json: bool = options.JSON,
) -> None:
    """Print the configuration that was last applied, as headgate apply takes it back unchanged.

    What has its default value is left out, comments are not kept, and what operators have set for a
    time is no part of it: see headgate throttle list. Secrets never stand in it.
    """
    document = plain(asyncio.run(_load()))
    if output is None and as_json:
        print_json(document)
        return
    # JSON as YAML reads it: signs beyond the first 65,536 are not written as two halves.
    text = (
        json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if as_json
        else to_yaml(document, utc(now_ms()))
    )
    if output is None:
        print(text, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigurationError(f"{output} is there already: name another file") from None
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be written: {error.strerror}") from error
    if as_json:
        print_json({"written_to": str(output)})
        return
    say(f"written to {output}: headgate apply -f takes it back")


async def _load() -> Configuration:
    async with reading() as db:
        return await ConfigurationStore(db).load()
