"""``headgate nexus-endpoint``, on the real stack."""

import json
from uuid import uuid4

import pytest

from headgate.devstack.stack import Stack
from tests.cli.command import run_here as run


@pytest.fixture
def environ(stack: Stack) -> dict[str, str]:
    return {"TEMPORAL_ADDRESS": stack.temporal_address}


async def test_an_endpoint_is_created_once(environ: dict[str, str]) -> None:
    name = f"headgate-{uuid4().hex[:8]}"
    missing = await run("nexus-endpoint", "--name", name, environ=environ)
    assert missing.refusal == (
        f"there is no Nexus endpoint {name!r}: run headgate nexus-endpoint --name {name} --create, "
        f"or temporal operator nexus endpoint create --name {name} --target-namespace default "
        "--target-task-queue headgate"
    )
    leads = f"endpoint {name} leads to task queue headgate of namespace default\n"
    created = await run("nexus-endpoint", "--name", name, "--create", environ=environ)
    assert created.out == f"created {name}\n{leads}"
    again = await run("nexus-endpoint", "--name", name, "--create", environ=environ)
    assert again.out == leads
    assert (await run("nexus-endpoint", "--name", name, environ=environ)).out == leads
    said = await run("nexus-endpoint", "--name", name, "--json", environ=environ)
    assert json.loads(said.out) == {
        "endpoint": name,
        "created": False,
        "task_queue": "headgate",
        "namespace": "default",
    }


async def test_a_name_that_cannot_be_used_is_told_in_a_line(environ: dict[str, str]) -> None:
    refused = await run("nexus-endpoint", "--name", "not a name", "--create", environ=environ)
    assert "'not a name'" in refused.refusal
