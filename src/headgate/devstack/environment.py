"""How other terminals reach a stack."""

import os
import shlex
from pathlib import Path

from headgate.devstack.stack import TEMPORAL_VARIABLE, Stack
from headgate.store.address import DATABASE_URL


def write_environment(stack: Stack) -> str:
    """Write how to reach the stack, with the password, where only this user can read it.

    Returns:
        What to type in another terminal.
    """
    file: Path = stack.state_dir / "environment"
    lines = [
        f"export {TEMPORAL_VARIABLE}={shlex.quote(stack.temporal_address)}",
        f"export {DATABASE_URL}={shlex.quote(stack.dsn)}",
    ]
    if stack.temporal is not None:
        lines.append("export TEMPORAL_NAMESPACE=default")
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as out:
        out.write("\n".join(lines) + "\n")
    return f". {shlex.quote(str(file))}"
