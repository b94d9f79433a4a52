"""``headgate bench``: what governance costs, measured on this machine."""

from importlib import import_module, util

import typer

from headgate.model.errors import ConfigurationError


def command(
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quick: bool = typer.Option(False, help="A look, in about two minutes instead of ten."),
) -> None:
    """Measure what governance costs: jobs a second, decisions, events, memory.

    Runs an embedded Temporal server and Postgres; for a checkout of Headgate, in its folder.
    """
    if util.find_spec("bench") is None or util.find_spec("bench.performance") is None:
        raise ConfigurationError(
            "the benchmarks are not here: they are part of the repository, not of the package; run "
            "this in the folder of a checkout"
        )
    arguments = [name for name, wanted in (("--json", as_json), ("--quick", quick)) if wanted]
    import_module("bench.performance").main(arguments)
