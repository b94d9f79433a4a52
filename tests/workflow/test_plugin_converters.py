"""Governed jobs under the user's own codec or converter, on the real server."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHistory
from temporalio.common import HeaderCodecBehavior
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from headgate import HeadgatePlugin
from headgate.devstack.stack import Stack
from headgate.gate import Gate
from headgate.model.entity import EntityOptions
from headgate.model.errors import ConfigurationError, UnavailableError
from headgate.model.ledger import Admit, Holder
from headgate.model.quota import Quota
from headgate.model.reason import ReasonCode
from headgate.orchestrator.converters import with_pydantic
from headgate.orchestrator.holders import holders
from headgate.store.database import Database
from tests.converters import ENCRYPTED, Cipher, LostKey, PlainConverter, ZippedConverter
from tests.harness import eventually, soon_left
from tests.jobs import ScanJob, ScanJobInput
from tests.site import Site


def payloads(message: Message) -> Iterator[tuple[str, Payload]]:
    """All payloads in a message, each with the way to it."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            parts: list[tuple[str, Any]] = [(f"{field.name}[{key}]", value[key]) for key in value]
        elif isinstance(value, Message):
            parts = [(field.name, value)]
        else:
            parts = [(field.name, part) for part in value]
        for where, part in parts:
            if isinstance(part, Payload):
                yield where, part
            elif isinstance(part, Message):
                yield from ((f"{where}.{way}", found) for way, found in payloads(part))


SDK_NOTE = "marker_recorded_event_attributes.details[data].payloads"
"""When a local activity ran and of which type it was: the SDK writes it past all codecs."""

PATCH_NOTES = (
    "marker_recorded_event_attributes.details[patch-data].payloads",
    "upsert_workflow_search_attributes_event_attributes.search_attributes."
    "indexed_fields[TemporalChangeVersion]",
)
"""The name of a patch of a governance workflow, a constant: likewise."""


def legible(history: WorkflowHistory) -> list[tuple[str, bytes]]:
    """What of a history can be read without the codec, other than what the SDK itself notes."""
    return [
        (way, payload.data)
        for event in history.events
        for way, payload in payloads(event)
        if payload.metadata["encoding"] != ENCRYPTED and way not in (SDK_NOTE, *PATCH_NOTES)
    ]


async def govern_two_jobs(site: Site, name: str) -> list[WorkflowHistory]:
    """Have one job wait for the other, and return the histories of all that took part."""
    governance, scanner = site.governance, site.scanner
    await governance.set_quotas(name, scan=Quota(max_active=1))
    scanner.open.clear()
    first = await site.start(ScanJobInput(tenant=name, downstream=name))
    await eventually(lambda: governance.account(name), lambda a: a.units_held.get("scan") == 1)
    second = await site.start(ScanJobInput(tenant=name, downstream=name))
    await eventually(lambda: governance.account(name), lambda a: a.waiting.get("scan") == 1)
    scanner.open.set()
    await first.result()
    await second.result()
    await governance.until_scans(name, granted=2, released=2, held=0)
    await eventually(lambda: governance.breaker_state(name), lambda s: s.successes == 2)
    ledger, breaker = governance.handle("ledger", name), governance.handle("breaker", name)
    return [await handle.fetch_history() for handle in (first, second, ledger, breaker)]


async def test_with_an_encrypting_codec_nothing_in_any_history_can_be_read(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    converter = DataConverter(payload_codec=Cipher())
    site = await Site.connect(
        stack,
        database,
        options,
        data_converter=converter,
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )
    async with site.running(max_cached_workflows=0):
        histories = await govern_two_jobs(site, name)
    for history in histories:
        assert legible(history) == []
    job = b"".join(event.SerializeToString() for event in histories[0].events)
    assert name.encode() not in job
    replayer = Replayer(
        workflows=[ScanJob],
        plugins=[HeadgatePlugin(governance=stack.dsn)],
        data_converter=converter,
        header_codec_behavior=HeaderCodecBehavior.CODEC,
    )
    for history in histories:
        await replayer.replay_workflow(history)


async def test_a_converter_of_the_users_own_carries_everything(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    converter = DataConverter(payload_converter_class=ZippedConverter)
    site = await Site.connect(stack, database, options, data_converter=converter)
    async with site.running():
        histories = await govern_two_jobs(site, name)
    for history in histories:
        found = [p.metadata["encoding"] for event in history.events for _, p in payloads(event)]
        assert b"json/zipped" in found


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:If you're using Pydantic")
async def test_messages_survive_the_default_converter_for_those_who_insist_on_it(
    stack: Stack, database: Database, options: EntityOptions, name: str
) -> None:
    converter = DataConverter(payload_converter_class=PlainConverter)
    site = await Site.connect(stack, database, options, data_converter=converter)
    async with site.running():
        await govern_two_jobs(site, name)


async def test_a_codec_that_cannot_decode_is_found_when_the_worker_starts(
    stack: Stack, database: Database, options: EntityOptions
) -> None:
    converter = DataConverter(payload_codec=LostKey())
    site = await Site.connect(stack, database, options, data_converter=converter)
    for worker in (site.job_worker(), site.governance_worker()):
        with pytest.raises(ConfigurationError, match=r"LostKey cannot decode.*another key"):
            await worker.run()


@pytest.mark.parametrize("hidden", ["governance", "jobs"])
async def test_governance_and_jobs_that_cannot_read_each_other_are_told_so(
    stack: Stack, database: Database, options: EntityOptions, client: Client, name: str, hidden: str
) -> None:
    encrypting = DataConverter(payload_codec=Cipher())
    converter = {"data_converter": encrypting} if hidden == "governance" else {}
    site = await Site.connect(stack, database, options, **converter)
    other = client
    if hidden == "jobs":
        config = client.config()
        config["data_converter"] = with_pydantic(encrypting)
        other = Client(**config)
    async with soon_left(site.governance_worker()):
        await site.governance.set_quotas(name, scan=Quota(max_active=1))
        gate = Gate(other, site.governance.task_queue, options)
        async with gate.running():
            holder = Holder(workflow_id="job-1", run_id="run-1")
            asked = Admit(id="a", holder=holder, tenant=name, resource="scan")
            decision = await gate.admit(asked)
            assert decision.reason is not None
            assert decision.reason.code is ReasonCode.UNAVAILABLE
            assert "cannot read each other" in decision.reason.message
            assert "set HEADGATE_DATA_CONVERTER" in decision.reason.message
        if hidden == "governance":
            with pytest.raises(UnavailableError, match="HEADGATE_DATA_CONVERTER"):
                await holders(other, name)
