"""The calls of a release: three services, over HTTP."""

import os
from dataclasses import asdict, dataclass
from typing import Any

import httpx2
from temporalio import activity

_http = httpx2.AsyncClient(timeout=20)


@dataclass
class Release:
    """An artifact that a tenant wants to release."""

    tenant: str
    artifact: str


@activity.defn
async def scan(release: Release) -> str:
    """Have the artifact scanned."""
    return str((await _post("SCANNER_URL", release))["report"])


@activity.defn
async def attest(release: Release) -> str:
    """Have it attested."""
    return str((await _post("ATTESTOR_URL", release))["attestation"])


@activity.defn
async def evaluate(release: Release) -> bool:
    """Ask the policy engine whether it may be released."""
    return bool((await _post("POLICY_ENGINE_URL", release))["allowed"])


async def _post(service: str, release: Release) -> dict[str, Any]:
    answer = await _http.post(os.environ[service], json=asdict(release))
    answer.raise_for_status()
    return dict(answer.json())
