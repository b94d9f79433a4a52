"""What is wrong with how the plugin was given is said at start, with what to do."""

import subprocess
import sys
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.common import HeaderCodecBehavior, VersioningBehavior, WorkerDeploymentVersion
from temporalio.converter import DataConverter
from temporalio.worker import Replayer, Worker, WorkerDeploymentConfig

import headgate
from headgate import HeadgatePlugin
from headgate.model.errors import ConfigurationError
from headgate.orchestrator.governance_parts import GovernanceParts
from headgate.orchestrator.shared_converter import SharedPydanticPayloadConverter
from tests.converters import (
    Cipher,
    ForgetfulConverter,
    LedgersOnly,
    PlainConverter,
    ShoutingConverter,
    StringConverter,
    ZippedConverter,
)
from tests.jobs import ScanJob

DSN = "postgresql://nobody@localhost:1/nowhere"


async def connect(*plugins: HeadgatePlugin, **options: Any) -> Client:
    """A client that has not connected yet: enough for what is found out at start."""
    return await Client.connect("localhost:1", lazy=True, plugins=plugins, **options)


def test_it_is_named_and_versioned() -> None:
    plugin = HeadgatePlugin()
    assert plugin.name() == "headgate.HeadgatePlugin"
    assert HeadgatePlugin.version == plugin.version == headgate.__version__


async def test_two_on_one_client_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"2 times on the client: give one"):
        await connect(HeadgatePlugin(), HeadgatePlugin())
    plugin = HeadgatePlugin()
    with pytest.raises(ConfigurationError, match=r"2 times on the client: give one"):
        await connect(plugin, plugin)


@pytest.mark.filterwarnings("ignore:The same plugin type")
async def test_one_on_the_client_and_one_on_the_worker_are_refused() -> None:
    plugin = HeadgatePlugin()
    client = await connect(plugin)
    for another in (plugin, HeadgatePlugin()):
        with pytest.raises(ConfigurationError, match="on the client and on its worker: give one"):
            Worker(client, task_queue="jobs", workflows=[ScanJob], plugins=[another])


async def test_on_a_worker_it_cannot_replace_the_default_converter() -> None:
    client = await connect()
    with pytest.raises(ConfigurationError, match=r"give the plugin to Client\.connect instead"):
        Worker(client, task_queue="jobs", workflows=[ScanJob], plugins=[HeadgatePlugin()])


def test_two_on_one_replayer_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="twice to the replayer"):
        Replayer(workflows=[ScanJob], plugins=[HeadgatePlugin(), HeadgatePlugin()])


async def test_a_governance_worker_needs_a_database() -> None:
    client = await connect(HeadgatePlugin(task_queue="mine"))
    with pytest.raises(ConfigurationError, match=r"polls 'mine'.*HeadgatePlugin\(governance="):
        Worker(client, task_queue="mine", workflows=[ScanJob])


@pytest.mark.parametrize(
    "arguments",
    [
        {"task_queue": ""},
        {"task_queue": 5},
        {"options": {}},
        {"governance": 5},
        {"governance": "mysql://db/headgate"},
        {"governance": ""},
        {"tenant": "acme"},
        {"fairness": ["a"]},
        {"fairness": {"a": -1}},
        {"fairness": {"a": 0}},
        {"fairness": {"a": "much"}},
        {"fairness": {"a": float("inf")}},
        {"fairness": {"": 1}},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_used_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"HeadgatePlugin.*{next(iter(arguments))}"):
        HeadgatePlugin(**arguments)


@pytest.mark.parametrize("address", ["mysql://db/headgate", ""])
def test_an_address_that_is_none_is_looked_for_where_it_was_given(address: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        HeadgatePlugin(governance=address)
    assert str(refused.value).startswith(
        "the address in HeadgatePlugin(governance=...) is not of the form postgresql://"
    )


def test_parts_of_no_database_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="database is 5: write its address, or a Database"):
        GovernanceParts(cast(Any, 5))


async def test_governance_workflows_may_not_be_pinned_to_a_version() -> None:
    client = await connect(HeadgatePlugin(governance=DSN))
    pinned = WorkerDeploymentConfig(
        version=WorkerDeploymentVersion("governance", "1"),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.PINNED,
    )
    with pytest.raises(ConfigurationError, match="default_versioning_behavior to AUTO_UPGRADE"):
        Worker(client, task_queue="headgate", deployment_config=pinned)


# Converters ------------------------------------------------------------------------------------


async def test_the_default_converter_becomes_the_pydantic_one_and_the_codec_stays() -> None:
    converter = (await connect(HeadgatePlugin())).data_converter
    assert converter.payload_converter_class is SharedPydanticPayloadConverter
    codec = Cipher()
    client = await connect(HeadgatePlugin(), data_converter=DataConverter(payload_codec=codec))
    assert client.data_converter.payload_codec is codec
    assert client.data_converter.payload_converter_class is SharedPydanticPayloadConverter


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:If you're using Pydantic")
@pytest.mark.parametrize("kind", [ZippedConverter, PlainConverter, LedgersOnly])
async def test_a_converter_that_carries_our_messages_is_kept(kind: type[Any]) -> None:
    converter = DataConverter(payload_converter_class=kind)
    assert (await connect(HeadgatePlugin(), data_converter=converter)).data_converter is converter


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (StringConverter, "cannot carry Headgate's message LedgerInput"),
        (
            ForgetfulConverter,
            "message LedgerInput back as it was, but a dict",
        ),
        (
            ShoutingConverter,
            "cannot carry a message of Headgate whose type the receiver",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:If you're using Pydantic")
async def test_a_converter_that_cannot_is_refused(kind: type[Any], words: str) -> None:
    converter = DataConverter(payload_converter_class=kind)
    told = rf"{kind.__qualname__}.*{words}.*; derive your payload converter from "
    with pytest.raises(ConfigurationError, match=told):
        await connect(HeadgatePlugin(), data_converter=converter)
    client = await connect(data_converter=converter)
    with pytest.raises(ConfigurationError, match=told):
        Worker(client, task_queue="jobs", workflows=[ScanJob], plugins=[HeadgatePlugin()])
    with pytest.raises(ConfigurationError, match=told):
        Replayer(workflows=[ScanJob], plugins=[HeadgatePlugin()], data_converter=converter)


async def test_headers_that_activities_could_not_read_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="use CODEC, or NO_CODEC"):
        await connect(
            HeadgatePlugin(),
            data_converter=DataConverter(payload_codec=Cipher()),
            header_codec_behavior=HeaderCodecBehavior.WORKFLOW_ONLY_CODEC,
        )


# What has to be installed ----------------------------------------------------------------------

WITHOUT_SERVER = """
import sys
for name in ("asyncpg", "httpx2", "yaml", "typer", "rich"):
    sys.modules[name] = None
from headgate import HeadgatePlugin, governance
HeadgatePlugin()
HeadgatePlugin(governance="postgresql://nobody@localhost:1/nowhere")
"""


def test_job_workers_need_no_server_parts_and_governance_says_that_it_does() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER], capture_output=True, text=True, timeout=60
    )
    last = run.stderr.strip().splitlines()[-1]
    assert "ConfigurationError: HeadgatePlugin: governance= needs the module" in last
    assert "pip install 'headgate[server]'" in last
