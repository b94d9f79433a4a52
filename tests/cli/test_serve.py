"""``headgate serve``: what its options say holds for the API that it serves."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from tests.api.test_security import Issuer
from tests.cli.command import ENVIRON, HEADGATE
from tests.cli.conftest import Desk


@asynccontextmanager
async def serving(desk: Desk, *options: str) -> AsyncIterator[str]:
    """Serve for the block; yields where."""
    process = await asyncio.create_subprocess_exec(
        *(HEADGATE, "serve", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**ENVIRON, **desk.environ},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = (await process.stdout.readline()).decode()
            yield said.rpartition(" ")[2].strip()
            process.send_signal(signal.SIGTERM)
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_what_stands_in_the_audit_is_the_claim_that_is_named(
    desk: Desk, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    tokens = (
        *("--oidc-issuer", issuer.settings.issuer, "--oidc-audience", issuer.settings.audience),
        *("--oidc-jwks", issuer.settings.jwks),
    )
    bearer = {"Authorization": f"Bearer {issuer.token(upn='ann')}"}
    for options, expected in (((), "ann@example.com"), (("--oidc-name-claim", "upn"), "ann")):
        async with (
            serving(desk, *tokens, *options) as address,
            httpx2.AsyncClient(base_url=address, headers=bearer, trust_env=False) as caller,
        ):
            assert (await caller.get("/v1/me")).json()["name"] == expected
