"""``headgate serve``: the REST API and the dashboard."""

import asyncio
import gc
import logging
import os
import signal

import typer

from headgate.api.server import DEFAULT_PORT, serving, settings_for
from headgate.api.service import Service, Temporal
from headgate.api.settings import OidcSettings
from headgate.cli.connect import connect_temporal, database
from headgate.cli.user import current_user
from headgate.store.migrate import require_current


def command(
    host: str = typer.Option("127.0.0.1", help="Where to listen; others need keys or OIDC."),
    port: int = typer.Option(DEFAULT_PORT, min=0, max=65_535, help="0: a free one."),
    public_url: str | None = typer.Option(
        None, envvar="HEADGATE_PUBLIC_URL", help="How browsers reach it, such as https://host."
    ),
    temporal_ui: str | None = typer.Option(
        None, envvar="HEADGATE_TEMPORAL_UI", help="The address of Temporal's UI, for links."
    ),
    trusted_proxy: str | None = typer.Option(
        None, envvar="HEADGATE_TRUSTED_PROXY", help="The proxy whose X-Forwarded-For is believed."
    ),
    oidc_issuer: str | None = typer.Option(
        None, envvar="HEADGATE_OIDC_ISSUER", help="Whose bearer tokens are believed."
    ),
    oidc_audience: str | None = typer.Option(
        None, envvar="HEADGATE_OIDC_AUDIENCE", help="For whom tokens must be made."
    ),
    oidc_jwks: str | None = typer.Option(
        None, envvar="HEADGATE_OIDC_JWKS", help="The issuer's keys: an https address, or a file."
    ),
    oidc_algorithm: list[str] = typer.Option(
        ["RS256", "ES256"], help="With which tokens may be signed; may be given more than once."
    ),
    oidc_role_claim: str = typer.Option(
        "headgate_role", envvar="HEADGATE_OIDC_ROLE_CLAIM", help="Where the role stands."
    ),
    oidc_tenant_claim: str = typer.Option(
        "headgate_tenant", envvar="HEADGATE_OIDC_TENANT_CLAIM", help="Where the tenant stands."
    ),
    oidc_name_claim: str = typer.Option(
        "email",
        envvar="HEADGATE_OIDC_NAME_CLAIM",
        help="What stands in the audit; sub, where it is missing.",
    ),
) -> None:
    """Serve the REST API and the dashboard, until Ctrl-C.

    Callers send a key (headgate keys create) or an OIDC token. As long as there is neither, it is
    only served on this machine, and open to whoever works on it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("temporalio").setLevel(logging.WARNING)
    oidc = None
    if oidc_issuer or oidc_audience or oidc_jwks:
        oidc = OidcSettings(
            issuer=oidc_issuer or "",
            audience=oidc_audience or "",
            jwks=oidc_jwks or "",
            algorithms=tuple(oidc_algorithm),
            role_claim=oidc_role_claim,
            tenant_claim=oidc_tenant_claim,
            name_claim=oidc_name_claim,
        )
    asyncio.run(_run(host, port, oidc, public_url, temporal_ui, trusted_proxy))


async def _run(
    host: str,
    port: int,
    oidc: OidcSettings | None,
    public_url: str | None,
    temporal_ui: str | None,
    trusted_proxy: str | None,
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with database() as db:
        await require_current(db)
        namespace = os.environ.get("TEMPORAL_NAMESPACE", "default")
        settings = await settings_for(
            db, host, current_user(), oidc, public_url, temporal_ui, namespace
        )
        service = Service(db, Temporal(connect_temporal), settings)
        async with serving(service, host, port, trusted_proxy) as address:
            # What is loaded by now stays: the collector need not go through it with every page.
            gc.freeze()
            print(f"headgate is served at {address}", flush=True)
            if settings.open_as is not None:
                print(
                    "open to whoever works on this machine, with all rights, because there is no "
                    "key yet: headgate keys create makes one, and closes it within seconds",
                    flush=True,
                )
            await stopping.wait()
