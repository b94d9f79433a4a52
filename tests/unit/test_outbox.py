"""The outbox: bounded, in order, and never silent about what it could not hold."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.alerts.outbox import AT_ONCE, MAX_WAITING, put
from headgate.alerts.summary import COLLAPSED, MAX_NAMED, for_tenant, summarise
from headgate.model.alert import Alert, Status

KINDS = ("quota.threshold", "breaker.opened")


def alert(number: int, kind: str = KINDS[0], status: Status = "firing") -> Alert:
    return Alert(
        id=f"tenant/acme/scan:1:{number}:{kind}",
        kind=kind,
        severity="warning",
        subject="tenant/acme/scan",
        title=str(number),
        text="",
        at_ms=1_700_000_000_000 + number,
        status=status,
        tenant="acme",
    )


class Ids:
    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        return f"tenant/acme:1:{100_000 + self.given}:{COLLAPSED}"


def counted(outbox: list[Alert]) -> int:
    """How many alerts are there, one by one or in a summary."""
    return sum(int(one.data["count"] or 0) if one.kind == COLLAPSED else 1 for one in outbox)


def test_a_full_outbox_collapses_its_oldest_alerts_into_one_that_counts_them() -> None:
    outbox: list[Alert] = []
    new_id = Ids()
    collapsed = sum(put(outbox, alert(n, KINDS[n % 2]), new_id) for n in range(MAX_WAITING + 9))
    assert len(outbox) == MAX_WAITING
    assert [one.title for one in outbox[:AT_ONCE]] == [str(n) for n in range(AT_ONCE)]
    summary = outbox[AT_ONCE]
    assert (summary.kind, summary.data["count"], collapsed) == (COLLAPSED, 10, 10)
    assert summary.text == (
        "5 breaker.opened, 5 quota.threshold, from 22:13:20 UTC to 22:13:20 UTC: "
        "there was no room for more."
    )
    assert summary.title == "tenant/acme: 10 alerts not delivered one by one"
    assert [int(one.title) for one in outbox[AT_ONCE + 1 :]] == list(range(AT_ONCE + 10, 209))


def test_a_summary_is_a_tenants_only_when_all_of_it_is() -> None:
    acme, globex = alert(1), alert(2).model_copy(update={"tenant": "globex"})
    id = f"pool/scans:1:9:{COLLAPSED}"

    def of(*alerts: Alert) -> Alert:
        return summarise(alerts, id, "there was no room for more", acme.at_ms)

    assert of(acme, alert(3)).tenant == "acme"
    assert of(acme, globex).tenant is None
    # Neither a summary of several, nor what is about none, becomes the tenant's beside it.
    assert of(of(acme, globex), acme).tenant is None
    assert of(acme, alert(4).model_copy(update={"tenant": None})).tenant is None


def test_what_resolves_is_kept_before_what_begins() -> None:
    outbox: list[Alert] = []
    for n in range(MAX_WAITING):
        put(outbox, alert(n, status="resolved" if n % 3 else "firing"), Ids())
    put(outbox, alert(999), Ids())
    gone = set(range(MAX_WAITING)) - {int(a.title) for a in outbox if a.kind != COLLAPSED}
    assert gone == {21, 24}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from(KINDS), st.booleans()),
            st.tuples(st.just("deliver"), st.integers(1, AT_ONCE), st.booleans()),
        ),
        min_size=200,
        max_size=400,
    )
)
def test_every_alert_arrives_or_is_counted_and_what_is_under_way_stays_as_it_is(
    steps: list[tuple[str, str | int, bool]],
) -> None:
    outbox: list[Alert] = []
    new_id = Ids()
    number = arrived = 0
    seen: dict[str, Alert] = {}
    for what, value, flag in steps:
        if what == "put":
            under_way = outbox[:AT_ONCE]
            put(outbox, alert(number, str(value), "resolved" if flag else "firing"), new_id)
            assert outbox[: len(under_way)] == under_way
            number += 1
        else:
            batch = outbox[: int(value)]
            for one in batch:
                assert seen.setdefault(one.id, one) == one
            if flag:
                arrived += counted(batch)
                del outbox[: len(batch)]
        assert len(outbox) <= MAX_WAITING
        assert arrived + counted(outbox) == number
        ids = [one.id for one in outbox]
        assert len(set(ids)) == len(ids)
        order = [int(one.title) for one in outbox if one.kind != COLLAPSED]
        assert order == sorted(order)


def test_a_summary_of_summaries_counts_what_is_in_them() -> None:
    first = summarise([alert(1), alert(2, KINDS[1])], Ids()(), "it failed", 1_700_000_000_100)
    both = summarise([first, alert(7)], Ids()(), "it failed", 1_700_000_900_000)
    assert both.data == {
        "count": 3,
        "first_ms": 1_700_000_000_001,
        "last_ms": 1_700_000_000_007,
        "because": "it failed",
        "kind:breaker.opened": 1,
        "kind:quota.threshold": 2,
        "own:quota.threshold:acme": 2,
    }
    assert (both.tenant, both.subject) == ("acme", "tenant/acme")


def unmet(tenant: str, number: int) -> Alert:
    fields = {"tenant": tenant, "kind": "guarantee.unmet", "subject": f"tenant/{tenant}/scan/scans"}
    return alert(number).model_copy(update=fields)


def test_a_tenant_is_told_what_of_a_summary_is_its_own() -> None:
    of_house = alert(3).model_copy(update={"tenant": "acme", "kind": "snapshot.lag"})
    id = f"pool/scans:1:9:{COLLAPSED}"
    one = summarise([unmet("acme", 1), unmet("globex", 2), of_house], id, "no room", of_house.at_ms)
    both = summarise([one, unmet("acme", 5)], id, "no room", of_house.at_ms + 9)
    own = for_tenant(both, "acme")
    assert own is not None
    assert own.id == "tenant/acme/pool/scans:1:9:quota.collapsed"
    assert (own.tenant, own.subject) == ("acme", "tenant/acme/pool/scans")
    assert own.title == "acme: 2 alerts not delivered one by one"
    assert own.text == "2 guarantee.unmet, from 22:13:20 UTC to 22:13:20 UTC: no room."
    assert "globex" not in own.model_dump_json()
    assert for_tenant(both, "initech") is None


def test_a_summary_names_no_more_tenants_than_a_workflow_can_keep() -> None:
    id = f"pool/scans:1:9:{COLLAPSED}"
    summary = unmet("t0", 0)
    for number in range(1, 3 * MAX_NAMED):
        summary = summarise(
            [summary, unmet(f"t{number}", number)], id, "no room", 1_800_000_000_000
        )
    assert summary.data["count"] == 3 * MAX_NAMED
    named = [number for number in range(3 * MAX_NAMED) if for_tenant(summary, f"t{number}")]
    assert named == list(range(MAX_NAMED))
