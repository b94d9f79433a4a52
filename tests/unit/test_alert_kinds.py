"""Every kind of alert has a row in the docs, words for a group of it, and a place to look."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import headgate
from headgate.model.alert import Alert
from headgate.model.alert_kinds import OF_RULES
from headgate.model.channel_alerts import KINDS as OF_CHANNELS
from headgate.model.channels import SlackChannel
from headgate.model.notifier import NotifierSettings
from headgate.notifier.outgoing import ABOUT, group, single

SOURCE: Final = Path(headgate.__file__).parent
DOCS: Final = Path(__file__).parents[2] / "docs"
ROOMS: Final = ("alerts", "breaker", "quota", "allocation")
"""Where rules are."""

KIND: Final = re.compile(r"(alerts|breaker|guarantee|notifier|permits|quota|snapshot)\.[a-z_]+")
ENDS_SOON: Final = {"override.expiring", "throttle.expiring"}
CHANNEL: Final = SlackChannel(kind="slack", url="https://hooks.example/x")
SETTINGS: Final = NotifierSettings(
    dashboard_url="https://h", temporal_ui_url="https://t", temporal_namespace="governance"
)


def of_rules() -> set[str]:
    """The kinds that the source names, whether or not anybody has thought of them elsewhere."""
    found = {
        node.value
        for room in ROOMS
        for file in sorted((SOURCE / room).glob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if KIND.fullmatch(node.value)
    }
    return found | ENDS_SOON


def in_docs() -> Iterator[str]:
    """The kinds in the table of rules: those that begin something, and those that end it."""
    for line in (DOCS / "alerts.md").read_text().splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([a-z_]+\.[a-z_]+)`", line.split("|")[1] + line.split("|")[-2])


def alert(kind: str, subject: str, **fields: object) -> Alert:
    told = {"id": f"{subject}:1:1:{kind}", "severity": "info", "title": "t", "text": "", "at_ms": 1}
    return Alert.model_validate({**told, "kind": kind, "subject": subject, **fields})


def test_the_docs_have_every_kind_that_a_rule_tells() -> None:
    found = of_rules()
    assert {"quota.threshold", "breaker.opened", "snapshot.lag", "alerts.collapsed"} <= found
    assert {*in_docs()} == found == {*OF_RULES}


def test_the_docs_have_every_kind_that_the_notifier_tells() -> None:
    text = (DOCS / "notifier.md").read_text()
    assert [kind for kind in OF_CHANNELS if f"`{kind}`" not in text] == []


@pytest.mark.parametrize("kind", sorted(kind for kind in of_rules() if kind[:8] != "breaker."))
@pytest.mark.parametrize("status", ["firing", "resolved"])
def test_a_group_of_every_kind_says_what_it_is_about(kind: str, status: str) -> None:
    assert kind in ABOUT
    tenants = ["acme", "globex"]
    many = [alert(kind, f"tenant/{name}", tenant=name, status=status) for name in tenants]
    title = group(many, "ops", CHANNEL, SETTINGS).lead.title
    assert title.startswith("2 tenants: ")
    assert kind not in title


@pytest.mark.parametrize(
    ("told", "page", "workflow"),
    [
        (alert("breaker.opened", "downstream/a/b"), "/downstreams/a%2Fb", "breaker%2Fa%2Fb"),
        (
            alert("quota.denied", "tenant/a@b/scan", tenant="a@b"),
            "/tenants/a%40b",
            "ledger%2Fa%40b",
        ),
        (alert("snapshot.lag", "pool/gpu"), "/pools/gpu", "governor%2Fgpu"),
        (
            alert("guarantee.unmet", "tenant/a/scan/gpu", tenant="a", data={"pool": "gpu"}),
            "/tenants/a",
            "governor%2Fgpu",
        ),
        (alert("channel.failing", "channel/ops"), "/alerts", None),
    ],
)
def test_links_lead_to_what_it_is_about(told: Alert, page: str, workflow: str | None) -> None:
    links = {link.name: link.url for link in single(told, CHANNEL, SETTINGS).links}
    assert links.pop("Dashboard") == f"https://h{page}"
    place = "https://t/namespaces/governance/workflows/headgate%2F"
    assert links == ({} if workflow is None else {"Temporal": f"{place}{workflow}"})


def test_a_group_leads_to_its_alerts() -> None:
    many = [alert("quota.denied", f"tenant/{n}/scan", tenant=str(n)) for n in range(9)]
    message = group(many, "ops", CHANNEL, SETTINGS)
    assert [link.url for link in message.links] == [f"https://h/alerts?search={message.id}"]
