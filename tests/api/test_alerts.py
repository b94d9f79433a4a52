"""Alerts and silences through the API, and the configuration as apply takes it back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio
import yaml

from headgate.model.configuration import Configuration
from headgate.yaml_file import read_yaml
from tests.api.conftest import Desk
from tests.harness import now_ms
from tests.notifier.site import SECRET, VARIABLE, Endpoint, Site, alert, crossing, webhook

BECAUSE = {"reason": "moving house"}


class Post(Site):
    """A Notifier beside the API, with a channel of ours and one of the tenant acme's own."""

    def __init__(self, desk: Desk, resources: AsyncExitStack) -> None:
        super().__init__(desk.database, resources)
        self.ops, self.own = Endpoint(), Endpoint()

    async def open(self) -> None:
        ops, own = await self.serve(self.ops.app()), await self.serve(self.own.app())
        await self.apply(channels={"ops": webhook(ops), "own": webhook(own, tenant="acme")})


@pytest_asyncio.fixture
async def post(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Post]:
    monkeypatch.setenv(VARIABLE, SECRET)
    await desk.stop_working()  # it delivers as well, whenever it likes
    async with AsyncExitStack() as resources:
        opened = Post(desk, resources)
        await opened.open()
        yield opened


def of(id: str, rest: str = "") -> str:
    return f"/v1/alerts/{quote(id, safe='')}{rest}"


async def ids(caller: httpx2.AsyncClient, **query: Any) -> list[str]:
    answer = await caller.get("/v1/alerts", params=query)
    assert answer.status_code == 200, answer.text
    return [one["alert"]["id"] for one in answer.json()["items"]]


async def test_alerts_are_listed_with_where_they_went_and_page_by_page(
    desk: Desk, post: Post
) -> None:
    acme, globex = crossing("acme"), crossing("globex", level=100)
    over = crossing("globex", status="resolved", sequence=2)
    post.ops.answers = [503]
    await post.tell(alert(1))
    await post.try_again()
    for one in (acme, globex, over):
        await post.tell(one)
    viewer = await desk.caller("viewer")
    everything = [over.id, globex.id, acme.id, alert(1).id]
    assert await ids(viewer) == everything
    assert await ids(viewer, open="true") == [acme.id], "one is over, one is never over"
    assert await ids(viewer, open="false") == [over.id, globex.id, alert(1).id]
    assert await ids(viewer, kind="quota.*", severity="warning") == [over.id, acme.id]
    assert await ids(viewer, tenant="globex") == [over.id, globex.id]
    assert await ids(viewer, channel="own", state="delivered") == [acme.id]
    assert await ids(viewer, search="SCANNER-1") == [alert(1).id]
    found: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    for size in (3, 1):
        page = (await viewer.get("/v1/alerts", params=query)).json()
        assert len(page["items"]) == size
        found += [one["alert"]["id"] for one in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert found == everything and query["cursor"] is None

    shown = (await viewer.get(of(alert(1).id))).json()
    assert shown["alert"]["text"] == "5 calls in a row failed" and shown["is_open"] is False
    assert [(one["channel"], one["state"]) for one in shown["deliveries"]] == [("ops", "delivered")]
    assert [one["outcome"] for one in shown["attempts"]] == ["refused", "delivered"]
    assert shown["attempts"][0]["status"] == 503
    missing = await viewer.get(of("downstream/nobody:1:1:breaker.opened"))
    assert missing.status_code == 404 and missing.json()["code"] == "not_found"
    for wrong in ({"kind": "Quota"}, {"severity": "bad"}, {"state": "lost"}, {"cursor": "x"}):
        assert (await viewer.get("/v1/alerts", params=wrong)).status_code in (400, 422), wrong


async def test_a_tenant_sees_its_own_alerts_and_what_went_to_its_own_channels(
    desk: Desk, post: Post
) -> None:
    post.ops.answers = [503]
    await post.tell(crossing("acme"))
    await post.try_again()
    await post.tell(crossing("globex"), alert(1))
    acme = await desk.caller("operator", tenant="acme")
    assert await ids(acme) == await ids(acme, tenant="acme") == [crossing("acme").id]
    assert await ids(acme, channel="ops") == []
    shown = await acme.get(of(crossing("acme").id))
    assert [one["channel"] for one in shown.json()["deliveries"]] == ["own"]
    assert {one["channel"] for one in shown.json()["attempts"]} == {"own"}
    assert "503" not in shown.text and "ops" not in shown.text
    for other in (crossing("globex").id, alert(1).id, crossing("nobody").id):
        answer = await acme.get(of(other))
        assert (
            answer.status_code == 404 and answer.json()["detail"] == f"there is no alert {other!r}"
        )
    assert (await acme.get("/v1/alerts", params={"tenant": "globex"})).status_code == 404
    assert (await acme.post(of(crossing("acme").id, "/resend"), json=BECAUSE)).status_code == 403
    for path in ("/v1/silences", "/v1/configuration"):
        assert (await acme.get(path)).status_code == 403, path


async def test_an_alert_is_sent_again_once_and_it_stands_in_the_audit(
    desk: Desk, post: Post
) -> None:
    await post.tell(crossing("acme"), alert(1))
    sent = len(post.ops.requests)
    operator, path = await desk.caller("operator"), of(crossing("acme").id, "/resend")
    viewer = await desk.caller("viewer")
    assert (await viewer.post(path, json=BECAUSE)).status_code == 403
    trial = await operator.post(path, json={**BECAUSE, "dry_run": True})
    assert trial.json()["data"]["message"] == "send it once more to ops, own"
    await post.notifier.work()
    assert len(post.ops.requests) == sent, "a dry run sends nothing"
    once = {"Idempotency-Key": desk.of("again")}
    for _ in range(2):
        done = await operator.post(path, json=BECAUSE, headers=once)
        assert done.status_code == 200, done.text
        assert done.json()["data"]["channels"] == ["ops", "own"]
        await post.notifier.work()
    assert post.ops.ids[sent:] == [crossing("acme").id], "the same request sends once"
    post.ops.require_one_content_for_each_id()
    (line,) = await desk.service.audit.lines(10, action="resend")
    assert (line.actor, line.reason, line.request_id) == (
        "operator-key",
        "moving house",
        desk.of("again"),
    )
    assert line.target == f"alert/{crossing('acme').id}" and (line.how or "").startswith("key ")
    for order, id, status, said in (
        ({"channel": "opps"}, alert(1).id, 409, "channel opps: no such channel"),
        ({"channel": "own"}, alert(1).id, 409, "channel own: is tenant acme's own"),
        ({}, "nothing", 404, "there is no alert 'nothing'"),
        ({"reason": ""}, alert(1).id, 422, "reason"),
    ):
        answer = await operator.post(of(id, "/resend"), json={**BECAUSE, **order})
        assert answer.status_code == status, answer.text
        assert said in answer.json()["detail"]
    assert len(await desk.service.audit.lines(10, action="resend")) == 1


async def test_alerts_are_silenced_for_a_while_and_told_of_again(desk: Desk, post: Post) -> None:
    await post.tell(crossing("globex"))
    operator, viewer = await desk.caller("operator"), await desk.caller("viewer")
    order = {"kind": "quota.*", "tenant": "globex", "for_ms": 600_000, **BECAUSE}
    assert (await viewer.post("/v1/silences", json=order)).status_code == 403
    trial = await operator.post("/v1/silences", json={**order, "dry_run": True})
    assert "kind quota.*, tenant globex until" in trial.json()["data"]["message"]
    assert trial.json()["data"]["open_alerts"] == 1
    assert (await viewer.get("/v1/silences")).json()["items"] == []
    once = {"Idempotency-Key": desk.of("hush")}
    first = await operator.post("/v1/silences", json=order, headers=once)
    again = await operator.post("/v1/silences", json=order, headers=once)
    assert first.status_code == 200 and first.json() == again.json()
    (held,) = (await viewer.get("/v1/silences")).json()["items"]
    assert held == first.json()["data"]["silence"] and held["actor"] == "operator-key"
    assert 0 < held["until_ms"] - now_ms() <= 600_000
    told = len(post.ops.requests)
    await post.tell(crossing("globex", level=100, sequence=2))
    assert len(post.ops.requests) == told
    path = f"/v1/silences/{held['id']}/end"
    assert (await viewer.post(path, json=BECAUSE)).status_code == 403
    assert (await operator.post(path, json={**BECAUSE, "dry_run": True})).status_code == 200
    assert len((await viewer.get("/v1/silences")).json()["items"]) == 1
    over = {"Idempotency-Key": desk.of("over")}
    for _ in range(2):
        ended = await operator.post(path, json={"reason": "moved"}, headers=over)
        assert ended.status_code == 200, ended.text
    assert (await viewer.get("/v1/silences")).json()["items"] == []
    late = await operator.post(path, json={"reason": "moved"})
    assert late.status_code == 404 and "GET /v1/silences lists" in late.json()["detail"]
    lines = await desk.service.audit.lines(10, target=f"silence/{held['id']}")
    assert [(one.action, one.reason) for one in lines] == [
        ("unsilence", "moved"),
        ("silence", "moving house"),
    ]
    assert all((one.how or "").startswith("key ") for one in lines)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ({"for_ms": 60_000}, "nothing says which alerts"),
        ({"kind": "Quota", "for_ms": 60_000}, "kind: is no kind of alert"),
        ({"kind": "braker.*", "for_ms": 60_000}, "kind: braker.* is no kind of alert (there is: "),
        ({"kind": "*"}, "for_ms"),
        ({"kind": "*", "for_ms": 0}, "for_ms"),
        ({"subject": "a\x00b", "for_ms": 60_000}, "subject"),
        ({"severity": "bad", "for_ms": 60_000}, "severity"),
        ({"kinds": "*", "for_ms": 60_000}, "kinds"),
    ],
)
async def test_a_silence_that_makes_no_sense_is_refused(
    desk: Desk, order: dict[str, Any], said: str
) -> None:
    operator = await desk.caller("operator")
    answer = await operator.post("/v1/silences", json={**BECAUSE, **order})
    assert answer.status_code == 422 and said in answer.json()["detail"], answer.text
    assert await desk.service.silences.in_force() == []


async def test_the_configuration_comes_back_as_it_was(desk: Desk, tmp_path: Path) -> None:
    tenant = {"quotas": {"scan": {"max_active": 2}}}
    await desk.apply(downstreams={"scanner": {}}, tenants={"b": tenant, "a": tenant})
    viewer = await desk.caller("viewer")
    plain = (await viewer.get("/v1/configuration")).json()
    answer = await viewer.get("/v1/configuration", params={"format": "yaml"})
    assert answer.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(answer.text) == plain and list(plain["tenants"]) == ["a", "b"]
    file = tmp_path / "headgate.yaml"
    file.write_text(answer.text, encoding="utf-8")
    again = read_yaml(file, Configuration, "configuration", "sections")
    assert again == await desk.service.configuration.load()
