"""Reading headgate.yaml: what is accepted, and what each mistake is told as."""

import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headgate.cli.configuration import read
from headgate.model.channels import WebhookChannel
from headgate.model.configuration import Configuration
from headgate.model.errors import ConfigurationError
from headgate.model.quota import Rate

EXAMPLE = Path(__file__).parents[2] / "examples" / "headgate.yaml"

QUOTA = "tenants:\n  acme:\n    quotas:\n      scan: {%s}\n"
BREAKER = "downstreams:\n  scanner:\n    breaker:\n      %s\n"
CHANNEL = "notifier:\n  channels:\n    ops:\n      url: %s\n      secret_env: %s\n"
POOL = "pools:\n  slots:\n    resource: scan\n    capacity: 3\n    tenants: %s\n"
FIXED = "    strategy: fixed\n"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def said_of(text: str | bytes, folder: Path) -> list[str]:
    """The lines of the refusal, without the file's name."""
    file = folder / "headgate.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as refusal:
        read(file)
    lines = str(refusal.value).splitlines()
    assert all(line.startswith(f"{file}:") for line in lines)
    assert all(line.isprintable() for line in lines)
    return [line.removeprefix(f"{file}:") for line in lines]


def accepted(text: str, folder: Path) -> Configuration:
    file = folder / "headgate.yaml"
    file.write_text(text)
    return read(file)


def test_the_example_is_valid() -> None:
    configuration = read(EXAMPLE)
    assert set(configuration.downstreams) == {"scanner", "attestor", "*"}
    assert configuration.tenants["acme"].quotas["scan"].rate == Rate(limit=20, period_ms=1_000)
    assert configuration.ledger("unheard-of").source == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # keys
        ("tenats: {}", "1: tenats: unknown key; did you mean tenants?"),
        (QUOTA % "max_activ: 3", "4: tenants.acme.quotas.scan.max_activ: unknown key; did you mean"
         " max_active?"),
        # `breaker` is a key elsewhere; what can be written here is what counts
        ("tenants:\n  acme:\n    breaker: {}\n    quotas: {s: {}}",
         "3: tenants.acme.breaker: unknown key; here you can write alerts, group, "
         "paused, quotas"),
        ("a: 1\n", "1: a: unknown key; here you can write activities, alerts, downstreams, "
         "groups, notifier, pools, tenants"),
        ("tenants:\n  acme:\n    quotas: {}\n", "3: tenants.acme.quotas: is empty; write at least "
         "one"),
        ("pools:\n  p:\n    capacity: 1\n    tenants: [a]\n", "2: pools.p: says how much, but "
         "not of what: add resource, such as resource: scan"),
        ("pools:\n  p: {resource: s, capacity: 1, strategy: fair}\n", "2: pools.p.strategy: is no "
         "strategy: write equal, proportional, priority, reserved, fixed, max_limit or unlimited"),
        ("pools:\n  p: {capacity: {a: 1, b: 2}, strategy: fixed}\n", "2: pools.p: several resources"
         " are divided with strategy proportional or equal: write one"),
        ("groups:\n  a: {parent: b}\n  b: {parent: a}\n", "2: groups.a: depends on "
         "itself, by way of b: break the circle"),
        ("groups:\n  a: {parent: b}\n", "2: groups.a.parent: b is no group (there is: a): list it "
         "under groups"),
        (QUOTA % "guaranteed: 4" + "pools: {p: {resource: scan, capacity: 3, strategy: reserved}}",
         "4: tenants.acme.quotas.scan: guarantees 4, but pool p has 3 scan: lower the guarantee or "
         "raise the capacity"),
        (QUOTA % "reservations: [{begin: '08:00', end: '09:00', guaranteed: 4}]" +
         "pools: {p: {resource: scan, capacity: 3, strategy: reserved}}",
         "4: tenants.acme.quotas.scan: guarantees 4, but pool p has 3 scan"),
        (QUOTA % "guaranteed: 2" + "pools: {p: {capacity: {scan: 3, cpu: 1}, tenants: [acme]}}",
         "5: pools.p.tenants.0: tenant acme has no quota of cpu"),
        (QUOTA % "guaranteed: 2" + "pools: {p: {capacity: {scan: 3, cpu: 1}}}",
         "4: tenants.acme.quotas.scan: guarantees 2 of scan, but pool p divides several resources "
         "by dominant shares, which know no guarantees"),
        ("pools: {p: {capacity: {a: 1, b: 2}, history_half_life_ms: 1000}}",
         "1: pools.p.history_half_life_ms: the past does not count where several resources are"),
        *(
            (f"pools:\n  p:\n    resource: a\n    capacity: 1\n    strategy: {strategy}\n"
             "    history_half_life_ms: 1000",
             f"6: pools.p.history_half_life_ms: the past does not count with strategy {strategy}, "
             "which looks at no weights: remove it, or write strategy proportional, priority, "
             "reserved or max_limit")
            for strategy in ("equal", "fixed", "unlimited")
        ),
        ("groups: {g: {shares: {scna: {}}}}\npools: {p: {resource: scan, capacity: 3}}",
         "1: groups.g.shares.scna: no pool shares scna (they share: scan)"),
        ("groups: {g: {shares: {scan: {guaranteed: 3, maximum: 2}}}}\n"
         "pools: {p: {resource: scan, capacity: 3}}",
         "1: groups.g.shares.scan: guaranteed is 3, but maximum is 2"),
        ("pools: {p: {resource: scan, capacity: 3, follows: scanner}}", "1: pools.p.follows: "
         "scanner is no listed downstream (there is: none): list it under downstreams"),
        ("downstreams: {scanner: {limit: {max_in_flight: 3}}}\n"
         "pools: {p: {resource: scan, capacity: 3, follows: scanner}}", "2: pools.p.follows: "
         "scanner has no limit that adapts: write one at downstreams.scanner.limit.concurrency"),
        ("downstreams: {scanner: {limit: {concurrency: {}}}}\n"
         "pools: {p: {capacity: {a: 1, b: 2}, follows: scanner}}", "2: pools.p.follows: follows "
         "the calls to scanner, but the pool has several resources (a, b)"),
        ("pools: {p: {resource: s, capacity: 1, shedding: {elevated: 1, saturated: 2}}}",
         "1: pools.p.shedding: elevated (1), saturated (2) and emergency (1) must not rise"),
        (QUOTA % "time_zone: Mars", "4: tenants.acme.quotas.scan.time_zone: 'Mars' is not a time "
         "zone that this machine knows"),
        # numbers
        (QUOTA % "max_active: -1", "4: tenants.acme.quotas.scan.max_active: is -1; write at least "
         "0"),
        (QUOTA % "max_active: 1.5", "4: tenants.acme.quotas.scan.max_active: is 1.5; write a whole "
         "number"),
        (QUOTA % "max_active: many", "4: tenants.acme.quotas.scan.max_active: is 'many'; write a "
         "whole number"),
        (QUOTA % "max_active: yes", "4: tenants.acme.quotas.scan.max_active: is true; write a whole"
         " number"),
        (QUOTA % "max_active: .inf", "4: tenants.acme.quotas.scan.max_active: is inf; write a whole"
         " number"),
        (QUOTA % "max_active: 99999999999", "4: tenants.acme.quotas.scan.max_active: is "
         "99999999999; write at most 1000000000"),
        (BREAKER % "failure_rate: 1.5", "4: downstreams.scanner.breaker.failure_rate: is 1.5; write"
         " at most 1.0"),
        (BREAKER % "failure_rate: 0", "4: downstreams.scanner.breaker.failure_rate: is 0; write "
         "more than 0.0"),
        (BREAKER % "failure_rate: .nan", "4: downstreams.scanner.breaker.failure_rate: is nan, "
         "which is not a number; write a number"),
        (BREAKER % "failure_rate: 50%", "4: downstreams.scanner.breaker.failure_rate: is '50%'; "
         "write a number"),
        (BREAKER % "failure_rate: on", "4: downstreams.scanner.breaker.failure_rate: is true; write"
         " a number"),
        (BREAKER % f"failure_rate: 1{'0' * 400}", "4: downstreams.scanner.breaker.failure_rate: is "
         "1000"),
        (BREAKER % f"min_calls: 1{'0' * 400}", "4: downstreams.scanner.breaker.min_calls: is 1000"),
        (BREAKER % f"min_calls: 1{'0' * 5000}", "4: downstreams.scanner.breaker.min_calls: "),
        (BREAKER % "window: {seconds: 99999}", "4: downstreams.scanner.breaker.window.seconds: is "
         "99999; write at most 3600"),
        (BREAKER % "window: {kind: calls}", "4: downstreams.scanner.breaker.window: has the kind "
         "'calls'; write kind: time or kind: count"),
        (BREAKER % "probe_deadline_ms: 200000", "3: downstreams.scanner.breaker: probe_deadline_ms "
         "(200000) is longer than half_open_max_ms (120000): lower the first or raise the second"),
        ("downstreams: {scanner: {breaker: {half_open_max_ms: 30000}, alerts: {half_open_ms: 30000}"
         "}}", "1: downstreams.scanner.alerts.half_open_ms: is 30000, but HALF_OPEN is left after "
         "30000 (half_open_max_ms) at the latest, so nobody would ever be told: lower it"),
        ("alerts:\n  half_open_ms: 120000", "2: alerts.half_open_ms: is 120000, but every breaker "
         "that this is for leaves HALF_OPEN after 120000 (half_open_max_ms) at the latest"),
        # rates
        (QUOTA % "rate: fast", "4: tenants.acme.quotas.scan.rate: 'fast' is not a rate: write it "
         "like 10/s, 600/m, 50/h or 1000/d"),
        (QUOTA % "rate: 10/w", "4: tenants.acme.quotas.scan.rate: '10/w' is not a rate"),
        (QUOTA % "rate: 10", "4: tenants.acme.quotas.scan.rate: is 10; write it like 10/s"),
        (QUOTA % "rate: 0/s", "4: tenants.acme.quotas.scan.rate: is 0; write at least 1"),
        (QUOTA % "burst: 5", "4: tenants.acme.quotas.scan: burst without rate limits nothing: add a"
         " rate such as 10/s"),
        # structure
        ("- a\n- b", "1: the file: is ['a', 'b']; write sections at its top: downstreams, groups, "
         "pools, tenants, notifier"),
        ("just text", "1: the file: is 'just text'; write sections"),
        ("\n\ntenants: [a, b]", "3: tenants: is ['a', 'b']; write keys and values below it"),
        ("tenants:\n  acme:\n", "2: tenants.acme: is empty; write keys and values below it"),
        ("pools:\n  p: {resource: s, capacity: 1, tenants: a}", "2: pools.p.tenants: is 'a'; write "
         "a list such as [a, b]"),
        (POOL % "\n      - acme\n      - 5\n      - x y\n", "7: pools.slots.tenants.1: is 5; write "
         "text, in quotes if"),
        # YAML itself
        ("tenants:\n\tacme: 1", "2: not YAML: found character '\\t' that cannot start any token; "
         "indent with spaces, not tabs"),
        ("tenants: [a, b\n", "2: not YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("a: *nobody", "1: not YAML: found undefined alias 'nobody'"),
        ("{}\n---\n{}", "2: not YAML: a second document begins here; one file is one "
         "configuration"),
        (b"a: \x00", "1: not YAML: the character '\\x00' is not allowed in it"),
        (b"a: 1\nb: \x01", "2: not YAML: the character '\\x01' is not allowed in it"),
        ("a: 2024-99-99", "1: a: not YAML: '2024-99-99' is not timestamp; put it in quotes if it is"
         " meant as text"),
        ("a: !!python/object:os.system x", "1: not YAML: could not determine a constructor"),
        ("? [a, b]\n: c", "1: the file: a key must be a word"),
        ("a: &a\n  - *a", "1: a.0: contains itself: remove the alias"),
        ("[" * 3000, " not YAML: nested too deeply"),
        # the same twice
        ("tenants:\n  a: {quotas: {s: {}}}\n  b: {quotas: {s: {}}}\n  a: {quotas: {s: {}}}\n",
         "4: tenants.a: written twice, first on line 2: remove one of them"),
        (QUOTA % "rate: 5/s, rate: 6/s", "4: tenants.acme.quotas.scan.rate: written twice"),
        # names
        ("tenants:\n  'a b': {quotas: {s: {}}}", "2: tenants.a b: 'a b' is no name; write letters, "
         "digits and . _ : @ / + - beginning with a letter or digit"),
        ("tenants:\n  '': {quotas: {s: {}}}", "2: tenants.'': '' is no name"),
        ('tenants:\n  "\\e[31m": {quotas: {s: {}}}', "2: tenants.'\\x1b[31m': '\\x1b[31m' is no"
         " name"),
        (f"tenants:\n  {'x' * 300}: {{quotas: {{s: {{}}}}}}", "2: tenants.'xxx"),
        ("tenants:\n  12: {quotas: {s: {}}}", "2: tenants.12: is not read as text; put it in "
         "quotes: '12'"),
        ("tenants:\n  no: {quotas: {s: {}}}", "2: tenants.no: is not read as text; put it in "
         "quotes: 'no'"),
        ("pools: {'*': {resource: s, capacity: 1, tenants: [a]}}", "1: pools.*: '*' is no name"),
        # pools
        (QUOTA % "max_active: 4" + POOL % "[acme]" + FIXED, "8: pools.slots.capacity: is 3, "
         "but its tenants may hold 4 scan: lower their max_active or raise the capacity"),
        (QUOTA % "rate: 4/s" + POOL % "[acme]" + FIXED, "9: pools.slots.tenants: tenant acme "
         "needs a "
         "max_active of scan: write it at tenants.acme.quotas.scan.max_active"),
        (POOL % "[acme]", "5: pools.slots.tenants.0: tenant acme has no quota of scan: write one "
         "at tenants.acme.quotas.scan"),
        (QUOTA % "max_active: 1" + POOL % "[acme, acme]", "9: pools.slots.tenants.1: names acme "
         "twice: remove one"),
        # alerts
        ("alerts: {usage_levels: [90, 80, 80]}", "1: alerts.usage_levels: the levels must rise, "
         "each written once: write [80, 90]"),
        ("alerts: {usage_levels: [120]}", "1: alerts.usage_levels.0: is 120; write at most 100"),
        ("alerts: {repeat_ms: 4}", "1: alerts.repeat_ms: is 4; write at least 1000"),
        ("alerts: {flapping: {openings: 1}}", "1: alerts.flapping.openings: is 1; write at least"),
        ("tenants:\n  acme:\n    alerts: {waiting: 5}\n    quotas: {s: {}}", "3: "
         "tenants.acme.alerts.waiting: unknown key; did you mean waiting_ms?"),
        # the notifier
        (CHANNEL % ("http://example.com/x", "S"), "4: notifier.channels.ops.url: goes over http to "
         "another machine: write https"),
        (CHANNEL % ("http://127.0.0.1.example.com/x", "S"), "4: notifier.channels.ops.url: goes "
         "over http"),
        (CHANNEL % ("http://localhost.example.com/x", "S"), "4: notifier.channels.ops.url: goes "
         "over http"),
        (CHANNEL % ("https://host:99999/x", "S"), "4: notifier.channels.ops.url: is not an address"
         ": write it like https://host.example/path"),
        (CHANNEL % ("ftp://host/x", "S"), "4: notifier.channels.ops.url: is not an address"),
        (CHANNEL % ("https:///x", "S"), "4: notifier.channels.ops.url: is not an address"),
        (CHANNEL % ("https://hö.example/x", "S"), "4: notifier.channels.ops.url: is not an"),
        (CHANNEL % ("https://169.254.169.254/x", "S") + "      allow_private: true", "4: notifier."
         "channels.ops.url: is at 169.254.169.254, which is no address of a service: refused"),
        (CHANNEL % ("https://10.1.2.3/x", "S"), "4: notifier.channels.ops.url: is at 10.1.2.3, in "
         "a private network: refused without allow_private: true"),
        (CHANNEL % ("https://167838211/x", "S"), "4: notifier.channels.ops.url: is at 10.1.2.3, "),
        (CHANNEL % ("'https://[::ffff:10.1.2.3]/x'", "S"), "4: notifier.channels.ops.url: is at "
         "10.1.2.3, in a private"),
        (CHANNEL % ("https://h/x", "5a"), "5: notifier.channels.ops.secret_env: is not the name of "
         "an environment variable: write one such as HEADGATE_WEBHOOK_SECRET"),
        (CHANNEL % ("https://h/x", "S") + "      kind: sms", "3: notifier.channels.ops: has the "
         "kind 'sms'; write kind: webhook or kind: alertmanager or kind: pagerduty or kind: slack "
         "or kind: apprise"),
        (CHANNEL % ("https://h/x", "S") + "      url_env: U", "3: notifier.channels.ops: has url "
         "and url_env: keep one of them"),
        (CHANNEL % ("https://h/x", "S") + "      title: 'Hey $who'", "6: notifier.channels.ops."
         "title: names $who, which there is not: write kind, severity, status"),
        (CHANNEL % ("https://h/x", "S") + "      text: '5 $'", "6: notifier.channels.ops.text: has "
         "a $ that begins no word: write $$ for the sign itself"),
        (CHANNEL % ("https://h/x", "S") + "      max_per_minut: 5", "6: notifier.channels.ops."
         "max_per_minut: unknown key; did you mean max_per_minute?"),
        (CHANNEL % ("https://h/x", "S") + "      secret_files: [a/b]", "6: notifier.channels.ops."
         "secret_files.0: is not the path of a file"),
        ("notifier: {channels: {a: {url: 'https://h/x'}}}", "1: notifier.channels.a: is not signed:"
         " add secret_env"),
        ("notifier: {channels: {a: {kind: alertmanager, url: 'https://h', labels: {b-l: x}}}}",
         "1: notifier.channels.a.labels.b-l: is no name of a label: write letters, digits "
         "and _, beginning with a letter or _"),
        (CHANNEL % ("https://h/x", "S") + "      title: ''", "6: notifier.channels.ops.title: is "
         "empty; write something, or leave it out"),
        ("notifier: {channels: {a: {kind: slack}}}", "1: notifier.channels.a: says nowhere to: add "
         "url, url_env or url_file"),
        ("notifier: {channels: {a: {kind: pagerduty}}}", "1: notifier.channels.a: needs its "
         "integration key: add secret_env or secret_file"),
        ("notifier: {channels: {a: {kind: slack, url: 'http://h/x'}}}", "1: notifier.channels.a.url"
         ": goes over http to another machine: write https, or allow_http: true"),
        ("notifier: {channels: {a: {kind: slack, secret_env: S, url: 'https://h/x'}}}", "1: "
         "notifier.channels.a.secret_env: unknown key"),
        (CHANNEL % ("https://h/x", "S") + "  routes:\n    - channels: [ops, pagr]\n", "7: notifier."
         "routes.0.channels.1: pagr is no channel (there is: ops): list it under "
         "notifier.channels"),
        (CHANNEL % ("https://h/x", "S") + "  routes:\n    - kinds: [quota.*, braker.*]\n      "
         "channels: [ops]\n", "7: notifier.routes.0.kinds.1: braker.* is no kind of alert (there "
         "is: alerts.*, breaker.*, channel.*, "),
        (CHANNEL % ("https://h/x", "S") + "  routes:\n    - kinds: [breaker.open]\n      "
         "channels: [ops]\n", "7: notifier.routes.0.kinds.0: breaker.open is no kind of alert "
         "(there is: breaker.flapping, breaker.half_open_long, breaker.opened, "),
        (CHANNEL % ("https://h/x", "S") + "      tenant: amce\ntenants: {acme: {quotas: {s: "
         "{max_active: 1}}}}\n", "6: notifier.channels.ops.tenant: amce is no tenant (there is: "
         "acme): list it under tenants"),
        (CHANNEL % ("https://h/x", "S") + "  default: [pagr]\n", "6: notifier.default.0: pagr is "
         "no channel (there is: ops)"),
        (CHANNEL % ("https://h/x", "S") + "      tenant: acme\n  routes:\n    - channels: [ops]\n",
         "8: notifier.routes.0.channels.0: ops is tenant acme's own and gets the alerts about that "
         "tenant without a route"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_to_write(
    text: str | bytes, said: str, tmp_path: Path
) -> None:
    lines = said_of(text, tmp_path)
    assert lines[0].startswith(said), lines
    assert all(len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        CHANNEL % ("https://ada:hunter2@host/x", "S"),
        CHANNEL % ("http://host/hunter2", "S"),
        CHANNEL % ("'https://host/hunter2\\x'", "S"),
        CHANNEL % (f"https://host/{'hunter2' * 999}", "hunter2-"),
        CHANNEL % ("https://h/x", SECRET),
        f"notifier:\n  channels:\n    ops:\n      url: https://h/x\n      secret: {SECRET}\n",
    ],
)
def test_no_message_repeats_a_secret(text: str, tmp_path: Path) -> None:
    said = " ".join(said_of(text, tmp_path))
    assert "hunter2" not in said
    assert SECRET not in said
    assert any(word in said for word in ("secret_env", "url"))


def test_all_mistakes_are_told_at_once_up_to_ten(tmp_path: Path) -> None:
    text = "tenants:\n" + "".join(f"  't {n}': {{quotas: {{s: {{}}}}}}\n" for n in range(30))
    lines = said_of(text, tmp_path)
    assert len(lines) == 10
    assert [line.partition(":")[0] for line in lines] == [str(n) for n in range(2, 12)]


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "---\n", "{}", "null", "tenants:\ndownstreams:\npools:\nnotifier:\n"],
)
def test_what_is_empty_is_an_empty_configuration(text: str, tmp_path: Path) -> None:
    assert accepted(text, tmp_path) == Configuration()


def test_the_rules_for_whatever_is_not_listed(tmp_path: Path) -> None:
    text = (
        "downstreams: {'*': {breaker: {open_ms: 77}}, known: }\n"
        "tenants: {'*': {quotas: {'*': {max_active: 7}}}}\n"
    )
    configuration = accepted(text, tmp_path)
    assert configuration.breaker("unheard-of").policy.open_ms == 77
    assert configuration.breaker("known").source == "listed"
    quotas = configuration.ledger("unheard-of").quotas
    assert quotas is not None
    assert quotas["*"].max_active == 7
    assert Configuration().ledger("unheard-of").source == "none"


def test_anchors_and_merges_are_understood_and_mistakes_in_them_found(tmp_path: Path) -> None:
    text = (
        "tenants:\n"
        "  acme:\n"
        "    quotas:\n"
        "      scan: &usual\n"
        "        max_active: 3\n"
        "        rate: 5/s\n"
        "      attest:\n"
        "        <<: *usual\n"
        "        max_active: 4\n"
        "  globex: {quotas: {scan: *usual}}\n"
    )
    tenants = accepted(text, tmp_path).tenants
    assert tenants["globex"].quotas["scan"] == tenants["acme"].quotas["scan"]
    assert tenants["acme"].quotas["attest"].max_active == 4
    assert tenants["acme"].quotas["attest"].rate == Rate(limit=5, period_ms=1_000)
    assert said_of(text + "      burts: 5\n", tmp_path)[0].startswith("11: not YAML")
    lines = said_of(text.replace("max_active: 3", "max_active: -3"), tmp_path)
    assert lines[0].startswith("5: tenants.acme.quotas.scan.max_active: is -3")


def test_aliases_that_multiply_are_refused_before_they_do(tmp_path: Path) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "more than 1000000 values" in said_of(text, tmp_path)[0]


def test_https_and_loopback_are_accepted(tmp_path: Path) -> None:
    for url in (
        "https://example.com/a/b?c=d",
        "https://example.com",
        "http://127.0.0.1:9000/x",
        "http://127.8.9.1/x",
        "http://localhost/x",
        "'http://[::1]:80/x'",
    ):
        text = CHANNEL % (url, "HEADGATE_WEBHOOK_SECRET")
        channel = accepted(text, tmp_path).notifier.channels["ops"]
        assert isinstance(channel, WebhookChannel)
        assert channel.url == url.strip("'")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for file, reason in (
        (tmp_path / "missing.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ConfigurationError) as refusal:
            read(file)
        assert str(refusal.value) == f"{file}: cannot be read: {reason}"
    assert said_of(b"\x89PNG\r\n\xff\xfe", tmp_path) == [" cannot be read: it is not UTF-8 text"]
    assert said_of(b"#" * 10_000_001, tmp_path) == [" larger than 10000000 bytes"]


def test_a_byte_order_mark_is_left_aside(tmp_path: Path) -> None:
    assert accepted("\ufefftenants: {'*': {quotas: {'*': {}}}}", tmp_path).tenants


# Whatever stands in the file -------------------------------------------------------------------

KEYS = st.sampled_from(
    ["downstreams", "tenants", "pools", "notifier", "quotas", "breaker", "scan", "*", "acme", "<<",
     "max_active", "rate", "burst", "window", "channels", "url", "secret_env", "capacity"]
) | st.text(max_size=5)  # fmt: skip
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["5/s", "http://127.0.0.1/x", "acme", "2024-01-01"])
)
DOCUMENTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)
)
SOUP = st.text(
    alphabet=string.ascii_lowercase + "0123456789 :-[]{},&*!|>'\"#?%@\t\n<.~", max_size=80
)
USUAL = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def reads_or_refuses(content: bytes, folder: Path) -> None:
    file = folder / "headgate.yaml"
    file.write_bytes(content)
    try:
        read(file)
    except ConfigurationError as refusal:
        for line in str(refusal).splitlines():
            assert line.startswith(str(file))
            assert line.isprintable()


@USUAL
@given(document=DOCUMENTS)
def test_any_document_is_read_or_refused(document: Any, tmp_path: Path) -> None:
    reads_or_refuses(yaml.safe_dump(document, allow_unicode=True).encode(), tmp_path)


@USUAL
@given(text=SOUP)
@example(text="a: !!bool x")
@example(text="a: !!int ''")
@example(text="a: !!timestamp x")
@example(text="a: !!float x")
@example(text="a: !!binary '*'")
@example(text="<<: 5")
@example(text="<<: *a")
@example(text="? {a: b}\n: c")
@example(text="!!set {a, b}")
@example(text="!!omap [a: b]")
@example(text="a: !!pairs x")
@example(text="=: 5")
@example(text="tenants: =")
@example(text="a: 1:99999999999999999999:1.e")
@example(text="2024-01-01: 5")
def test_any_text_is_read_or_refused(text: str, tmp_path: Path) -> None:
    reads_or_refuses(text.encode(), tmp_path)


@USUAL
@given(content=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    reads_or_refuses(content, tmp_path)
