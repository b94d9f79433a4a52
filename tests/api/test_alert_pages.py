"""The pages of alerts: what they show, and to whom."""

import json
import re
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Desk
from tests.api.test_alerts import Post, post
from tests.notifier.site import alert, crossing

__all__ = ["post"]

HTML = {"Accept": "text/html"}


def page(id: str) -> str:
    return f"/alerts/{quote(id, safe='')}"


def part(text: str, name: str) -> str:
    """A section of a page."""
    return text.split(f'data-live="{name}"')[1].split("</section>")[0]


def actions(text: str) -> dict[str, Any]:
    """What buttons would send, by their label."""
    found = re.findall(r'data-act="([^"]*)" hidden>([^<]*)<', text)
    return {unescape(label): json.loads(unescape(order)) for order, label in found}


async def test_what_is_open_comes_first_and_an_alert_has_its_page(desk: Desk, post: Post) -> None:
    viewer = await desk.caller("viewer", **HTML)
    empty = (await viewer.get("/alerts")).text
    assert "Nobody was told of anything yet." in empty and 'aria-current="page">Alerts' in empty
    post.ops.answers = [503]
    await post.tell(alert(1, title="<b>scanner</b> is cut off"))
    await post.try_again()
    await post.tell(crossing("acme"), crossing("globex"))
    await post.tell(crossing("globex", status="resolved", sequence=2))
    answer = await viewer.get("/alerts")
    assert len(answer.content) < 30_000
    text = answer.text
    assert "<b>scanner" not in text and "&lt;b&gt;scanner" in text
    assert " style=" not in text and text.count("<script") == 1
    assert crossing("acme").title in part(text, "open")
    assert crossing("globex").title not in part(text, "open")
    assert part(text, "recent").count("<tr>") == 1 + 4 and "✓ resolved" in part(text, "recent")
    assert actions(text) == {}
    for query, there, absent in (
        ({"severity": "critical"}, "scanner-1", "acme"),
        ({"kind": "quota.*"}, "acme", "scanner-1"),
        ({"tenant": "globex"}, "globex", "acme"),
        ({"search": "SCANNER"}, "scanner-1", "globex"),
    ):
        recent = part((await viewer.get("/alerts", params=query)).text, "recent")
        assert there in recent and absent not in recent, query
    wrong = await viewer.get("/alerts", params={"kind": "Quota", "severity": ""})
    assert wrong.status_code == 200 and "Quota is no kind of alert" in wrong.text
    none = await viewer.get("/alerts", params={"tenant": "nobody"})
    assert "No alert is like that." in none.text

    shown = (await viewer.get(page(alert(1).id))).text
    assert "5 calls in a row failed" in shown and 'href="/downstreams/scanner-1"' in shown
    attempts = part(shown, "attempts")
    assert "refused" in attempts and "503" in attempts and "delivered" in attempts
    over = (await viewer.get(page(crossing("globex").id))).text
    assert "Raise its max_active, or wait." in over and 'href="/tenants/globex"' in over
    assert "✓ resolved" in part(over, "others")
    assert (await viewer.get(page("nobody:1"))).status_code == 404


async def test_buttons_of_an_operator_do_what_they_say(desk: Desk, post: Post) -> None:
    await post.tell(crossing("globex"))
    operator = await desk.caller("operator", **HTML)
    bare = actions((await operator.get("/alerts")).text)
    assert [*bare] == ["Silence some"]
    assert [one["name"] for one in bare["Silence some"]["inputs"]] == [
        "kind", "severity", "subject", "tenant",
    ]  # fmt: skip
    listed = await operator.get("/alerts", params={"kind": "quota.*", "tenant": "globex"})
    these = actions(listed.text)["Silence these"]
    assert these["body"] == {"kind": "quota.*", "tenant": "globex"}
    assert these["cli"] == "headgate alerts silence --kind 'quota.*' --tenant globex"
    own = actions((await operator.get(page(crossing("globex").id))).text)
    assert set(own) == {"Send again", "Silence these", "Silence quota.threshold"}
    assert own["Silence these"]["cli"] == (
        "headgate alerts silence --kind quota.threshold --subject tenant/globex/scan"
    )
    for order, more in (
        (these, {"for_ms": 60_000}),
        (own["Silence these"], {"for_ms": 60_000}),
        (own["Silence quota.threshold"], {"for_ms": 60_000}),
        (own["Send again"], {}),
    ):
        message = {**order["body"], **more, "reason": "trying it"}
        done = await operator.post(order["path"], json={**message, "dry_run": True})
        assert done.status_code == 200 and done.json()["data"]["message"], done.text
        assert (await operator.post(order["path"], json=message)).status_code == 200
    text = (await operator.get("/alerts")).text
    assert part(text, "silences").count("operator-key") == 2 * 3
    end = actions(text)["End"]
    ended = await operator.post(end["path"], json={**end["body"], "reason": "enough"})
    assert ended.status_code == 200, ended.text
    left = await desk.service.silences.in_force()
    assert len(left) == 2 and end["path"].split("/")[3] not in {one.id for one in left}


async def test_a_tenant_sees_the_pages_of_its_own_alerts(desk: Desk, post: Post) -> None:
    post.ops.answers = [503]
    await post.tell(crossing("acme"))
    await post.tell(crossing("globex"), alert(1))
    acme = await desk.caller("operator", tenant="acme", **HTML)
    text = (await acme.get("/alerts")).text
    assert crossing("acme").title in text and "own: delivered" in text
    for secret in ("globex", "scanner-1", "ops:", "Silenced<", 'class="act"'):
        assert secret not in text, secret
    assert (await acme.get("/alerts", params={"tenant": "globex"})).status_code == 404
    assert (await acme.get(page(crossing("globex").id))).status_code == 404
    shown = (await acme.get(page(crossing("acme").id))).text
    assert ">own</td>" in shown and ">ops</td>" not in shown and 'class="act"' not in shown


@pytest.mark.parametrize("path", ["/alerts", "/alerts/some:1"])
async def test_who_has_not_logged_in_is_asked_to(desk: Desk, path: str) -> None:
    stranger = await desk.caller(None, None, **HTML)
    answer = await stranger.get(path)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/login?to=")
