"""The commands read and write as the orchestrator does: HEADGATE_DATA_CONVERTER."""

import pytest
from temporalio.converter import DataConverter

from headgate.cli.connect import DATA_CONVERTER, connect_temporal
from headgate.cli.worker import governance_worker
from headgate.devstack.stack import Stack
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError
from headgate.model.quota import Quota
from headgate.orchestrator.shared_converter import SharedPydanticPayloadConverter
from headgate.store.database import Database
from tests.converters import Cipher, ForgetfulConverter, LostKey
from tests.harness import Governance, Orchestrator, eventually, soon_left
from tests.jobs import ScanJobInput

encrypting = DataConverter(payload_codec=Cipher())
forgetful = DataConverter(payload_converter_class=ForgetfulConverter)
lost = DataConverter(payload_codec=LostKey())
HERE = "tests.cli.test_data_converter"


@pytest.fixture(autouse=True)
def _environment(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", stack.temporal_address)
    monkeypatch.delenv(DATA_CONVERTER, raising=False)


async def test_without_it_messages_are_plain_json() -> None:
    converter = (await connect_temporal()).data_converter
    assert converter.payload_converter_class is SharedPydanticPayloadConverter
    assert converter.payload_codec is None


async def test_a_governance_worker_from_the_command_line_serves_encrypting_orchestrators(
    stack: Stack,
    database: Database,
    options: EntityOptions,
    task_queue: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(DATA_CONVERTER, f"{HERE}:encrypting")
    client = await connect_temporal()
    assert client.data_converter.payload_codec is encrypting.payload_codec
    operator = Governance(client, database, task_queue, options)
    orchestrator = Orchestrator(stack.temporal_address, task_queue, options, encrypting)
    async with soon_left(governance_worker(client, database, task_queue)):
        await operator.set_quotas(name, scan=Quota(max_active=1))
        async with orchestrator.running():
            await orchestrator.run(ScanJobInput(tenant=name, downstream=name))
        await eventually(lambda: operator.breaker_state(name), lambda s: s.successes == 1)


@pytest.mark.filterwarnings("ignore:If you're using Pydantic", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere.at.all:converter", "No module named 'nowhere'.*package.module:name"),
        (f"{HERE}:missing", "no attribute 'missing'.*package.module:name"),
        (f"{HERE}", "package.module:name"),
        (":", "package.module:name"),
        (f"{HERE}:HERE", "is a str, not a DataConverter"),
        (f"{HERE}:forgetful", "ForgetfulConverter does not give Headgate's message"),
        (f"{HERE}:lost", "LostKey cannot decode what it has encoded"),
    ],
)
async def test_what_cannot_be_used_is_named(
    place: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATA_CONVERTER, place)
    with pytest.raises(ConfigurationError, match=words):
        await connect_temporal()
