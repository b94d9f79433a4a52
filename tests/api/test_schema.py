"""The API keeps to its OpenAPI description, whoever calls it: made-up requests, by Schemathesis."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from headgate.api.app import create_app
from headgate.api.description import described
from headgate.api.rates import Rates
from headgate.devstack.http_server import serving
from headgate.store.keys import RoleName
from tests.api.conftest import Desk
from tests.harness import acquire
from tests.notifier.site import Endpoint

Operation = APIOperation[Any, Any, Any, Any]

_EXAMPLES: Final = 3
_LEFT_OUT: Final = {("GET", "/v1/events"): "it never ends; tests/api/test_events.py reads it"}
_MORE_IS_REFUSED: Final = {
    "POST /v1/downstreams/{downstream}/commands": "a share goes with throttle only",
    "POST /v1/pools/{pool}/commands": "what goes with which action; resources the pool has not",
    "POST /v1/pools/{pool}/what-if": "quotas that make no sense together; resources likewise",
    "POST /v1/throttles": "a time that has passed already, or a time and a length at once",
    "POST /v1/silences": "one that names nothing; a pattern that is no kind of alert",
    "PUT /v1/tenants/{tenant}/quotas/{resource}": "quotas that make no sense, zones, hours",
    "POST /v1/tenants/{tenant}/commands": "overrides that make no sense together, or are over",
    "POST /v1/backtest": "policies that make no sense together",
}
"""Where a request may be as described and still be refused, because of what JSON schema cannot say.

tests/api/test_writes.py tells what is accepted there.
"""

_CALLERS: Final[dict[str, RoleName | None]] = {
    "admin": "admin",
    "operator": "operator",
    "viewer": "viewer",
    "tenant": "operator",
    "nobody": None,
}


def operations_of(desk: Desk) -> list[Operation]:
    """Every operation of the description."""
    # Requests without a key are the caller "nobody": keys are not made up.
    generation = GenerationConfig(with_security_parameters=False, allow_x00=True)
    config = SchemathesisConfig(
        seed=7, projects=ProjectsConfig(default=ProjectConfig(generation=generation))
    )
    schema = schemathesis.openapi.from_dict(described(create_app(desk.service)), config=config)
    found = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        found.append(result.ok())
    assert len(found) > 20
    assert {*_LEFT_OUT} <= {(one.method.upper(), one.path) for one in found}
    return [one for one in found if (one.method.upper(), one.path) not in _LEFT_OUT]


def ask(
    operation: Operation, mode: GenerationMode, base: str, key: str | None, known: dict[str, str]
) -> None:
    """Make requests up, send them, and check each answer; about what there is, and what not."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    there = {name: known[name] for name in known if f"{{{name}" in operation.path}

    @settings(
        max_examples=_EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode, path_parameters=there or None))
    def run(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            # What only this API can make up, and what has to be new every time.
            for given_, name in ((case.query, "cursor"), (case.headers, "Idempotency-Key")):
                if given_:
                    given_.pop(name, None)
        case.call_and_validate(
            base_url=base,
            headers=headers,
            timeout=20,
            excluded_checks=(
                [positive_data_acceptance] if operation.label in _MORE_IS_REFUSED else []
            ),
        )

    run()


@pytest_asyncio.fixture
async def chat() -> AsyncIterator[str]:
    async with serving(Endpoint().app()) as base:
        yield base


@pytest.mark.timeout(180)
@pytest.mark.parametrize("caller", _CALLERS)
async def test_every_answer_is_as_it_is_described(desk: Desk, chat: str, caller: str) -> None:
    tenant = desk.of("t")
    known = {
        "downstream": desk.of("scanner"),
        "tenant": tenant,
        "pool": desk.of("pool"),
        "channel": "ops",
    }
    await desk.apply(
        downstreams={known["downstream"]: {}},
        tenants={tenant: {"quotas": {"scan": {"max_active": 1}}}},
        pools={known["pool"]: {"resource": "scan", "capacity": 4}},
        # It takes all: whoever tries again draws lots, which Hypothesis does not like beside it.
        notifier={"channels": {"ops": {"kind": "slack", "url": f"{chat}/alerts"}}},
    )
    await desk.governance.exchange(tenant, [acquire("a"), acquire("b", wait_ms=60_000)])
    await desk.saved("breaker", known["downstream"])
    await desk.saved("ledger", tenant)
    await desk.saved("governor", known["pool"])
    await desk.serve(per_second=1e6, burst=1_000_000)
    desk.service.strangers = Rates(1e6, 1_000_000, time.monotonic)
    role = _CALLERS[caller]
    key = None
    if role is not None:
        key = await desk.key(role, tenant if caller == "tenant" else None)
    load_all_checks()
    assert {*_MORE_IS_REFUSED} <= {one.label for one in operations_of(desk)}
    wrong: list[str] = []
    asked = 0
    for operation in operations_of(desk):
        for mode in GenerationMode:
            for names in (known, {}) if mode is GenerationMode.POSITIVE else (known,):
                try:
                    await asyncio.to_thread(ask, operation, mode, desk.base, key, names)
                    asked += 1
                except Unsatisfiable:
                    # Nothing of it could be wrong.
                    assert mode is GenerationMode.NEGATIVE, operation.label
                except FailureGroup as error:
                    wrong.append(f"{operation.label}: {error.exceptions!r}"[:2_000])
    assert wrong == [], "\n\n".join(wrong)
    assert asked > 60


async def test_no_request_is_taken_with_something_in_it_that_nobody_reads(desk: Desk) -> None:
    schema = described(create_app(desk.service))
    open_: set[str] = set()
    seen: set[str] = set()

    def look(part: Any, where: str) -> None:
        if isinstance(part, list):
            for one in part:
                look(one, where)
        if not isinstance(part, dict):
            return
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            look(schema["components"]["schemas"][name], name)
        if "properties" in part and part.get("additionalProperties") is not False:
            open_.add(where)
        for value in part.values():
            look(value, where)

    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            look(operation.get("requestBody"), f"{method} {path}")
    assert {"LedgerOrder", "PauseOrder", "PoolOrder", "BreakerOrder", "QuotaChange"} <= seen
    assert open_ == set()
