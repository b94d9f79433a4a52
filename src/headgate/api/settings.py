"""How the API is served: where, and who may call it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from headgate.model.errors import ConfigurationError

ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""What tokens may be signed with: nothing that the verifier's key could sign itself."""


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Whose bearer tokens are believed.

    Args:
        issuer: The exact ``iss``.
        audience: One of ``aud``.
        jwks: The issuer's keys: an https address, or a file.
        algorithms: With which tokens may be signed.
        role_claim: Where the role stands: ``viewer``, ``operator``, ``admin``, or a list of which
            the highest counts, such as groups; without one of them a token opens nothing.
        tenant_claim: Where the tenant stands that a token is limited to.
        name_claim: What stands in the audit; ``sub``, where it is missing.

    Raises:
        ConfigurationError: Something is missing, or not safe.
    """

    issuer: str
    audience: str
    jwks: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    role_claim: str = "headgate_role"
    tenant_claim: str = "headgate_tenant"
    name_claim: str = "email"

    def __post_init__(self) -> None:
        for name in ("issuer", "audience", "jwks"):
            if not getattr(self, name):
                raise ConfigurationError(f"--oidc-{name} is missing: issuer, audience and jwks")
        unsafe = sorted({*self.algorithms} - {*ASYMMETRIC})
        if unsafe or not self.algorithms:
            raise ConfigurationError(
                f"--oidc-algorithm {', '.join(unsafe)}: write one or more of "
                + ", ".join(ASYMMETRIC)
            )
        parts = urlsplit(self.jwks)
        if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ConfigurationError("--oidc-jwks goes over http to another machine: write https")


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What an API needs to know of where it is served.

    Attributes:
        oidc: Whose tokens are believed; None: nobody's.
        open_as: Whoever calls is this one, with all rights: only on loopback, and only until the
            first key is made; None: everybody has to say who it is.
        public_url: How browsers reach it, such as https://headgate.example; None: as the request
            says.
        temporal_ui: The address of Temporal's UI, for links.
        namespace: Of Temporal, for links.
        session_s: How long a login to the dashboard lasts.
        most_body: Bytes of a request at most.
        per_second: Requests of one caller, sustained.
        burst: The same, at once.
        most_streams: Live updates at the same time, of all callers.
        poll_s: How often Postgres is looked at for them.
        listen_s: After so long whoever listens has to be known still, and hears that we are here.
        now: The clock, in seconds; for the rates.
    """

    oidc: OidcSettings | None = None
    open_as: str | None = None
    public_url: str | None = None
    temporal_ui: str | None = None
    namespace: str = "default"
    session_s: int = 12 * 3_600
    most_body: int = 65_536
    per_second: float = 50.0
    burst: int = 200
    most_streams: int = 500
    poll_s: float = 0.3
    listen_s: float = 15.0
    now: Callable[[], float] = time.monotonic
