"""The channels that alerts go to, as ``headgate.yaml`` names them."""

import re
from string import Template
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from headgate.model.addresses import is_loopback, literal, why_refused
from headgate.model.contract import Contract, Name, is_stored

TEMPLATE_WORDS: Final = (
    *("kind", "severity", "status", "subject", "tenant", "title", "text", "advice"),
    *("since", "at", "count", "id"),
)
"""What a template may name."""

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NO_URL: Final = "is not an address: write it like https://host.example/path"


def _variable_name(name: str) -> str:
    """Check the name of a variable. No message repeats it: it may be the secret itself."""
    if name.startswith("whsec_"):
        raise ValueError(
            "looks like the secret itself: put that into a variable of the governance worker's "
            "environment, and write the variable's name here, such as HEADGATE_WEBHOOK_SECRET"
        )
    plain = name.isascii() and name.replace("_", "a").isalnum() and not name[:1].isdigit()
    if not plain or len(name) > 200:
        raise ValueError(
            "is not the name of an environment variable: write one such as HEADGATE_WEBHOOK_SECRET"
        )
    return name


def _file_name(path: str) -> str:
    """Check the path of a secret. No message repeats it: it may be the secret itself."""
    if not path.startswith("/") or not path.isprintable() or len(path) > 1_000:
        raise ValueError("is not the path of a file: write one such as /run/secrets/webhook")
    return path


def _template(text: str) -> str:
    """Check a template, so that a mistake shows when it is written and not when it is needed."""
    template = Template(text)
    if not template.is_valid():
        raise ValueError("has a $ that begins no word: write $$ for the sign itself")
    unknown = sorted({*template.get_identifiers()} - {*TEMPLATE_WORDS})
    if unknown:
        raise ValueError(
            f"names ${unknown[0]}, which there is not: write {', '.join(TEMPLATE_WORDS)}, each "
            "with a $ before it"
        )
    if len(text) > 4_000:
        raise ValueError(f"is {len(text)} characters long; write at most 4000")
    return text


def _label_name(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError(
            "is no name of a label: write letters, digits and _, beginning with a letter or _"
        )
    return name


def checked_url(url: str, allow_http: bool) -> str:
    """Check an address. No message repeats it: many webhooks have a secret in their path.

    Raises:
        ValueError: What is wrong with it, as the end of a sentence about it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(_NO_URL) from None
    if not url.isascii() or not url.isprintable() or any(sign in url for sign in ' "<>\\^`{|}'):
        raise ValueError(f"{_NO_URL}; other signs as %20 and the like")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(_NO_URL)
    if "@" in parts.netloc:
        raise ValueError("has credentials in it, which would not be kept secret: remove them")
    if parts.scheme == "http" and not allow_http and not is_loopback(host):
        raise ValueError(
            "goes over http to another machine: write https, or allow_http: true where the network "
            "between is trusted"
        )
    return url


def require_allowed(url: str, allow_private: bool) -> None:
    """Refuse an address that is written as such and to which nothing would be sent.

    Raises:
        ValueError: Why, as the end of a sentence about it.
    """
    host = urlsplit(url).hostname or ""
    address = literal(host)
    why = None if address is None else why_refused(address, host, allow_private)
    if why is not None:
        raise ValueError(why)


VariableName = Annotated[str, AfterValidator(_variable_name)]
LabelName = Annotated[str, AfterValidator(_label_name)]
FileName = Annotated[str, AfterValidator(_file_name)]
TemplateText = Annotated[str, Field(min_length=1), AfterValidator(_template)]
TimeoutMs = Annotated[int, Field(ge=100, le=60_000)]


class ChannelBase(Contract):
    """What all channels have.

    Attributes:
        tenant: Whose own it is: only alerts about its quotas go there, and no route names it.
        title: A template of the title, such as ``eu-1: $title``; null: the alert's own.
        text: A template of the text; null: the alert's own.
        max_per_minute: Messages at most; what exceeds it is told of in one summary.
    """

    tenant: Name | None = None
    title: TemplateText | None = None
    text: TemplateText | None = None
    max_per_minute: Annotated[int, Field(ge=1, le=1_000)] = 20


class HttpChannel(ChannelBase):
    """A channel that is reached over HTTP.

    Attributes:
        allow_http: Also without TLS to other machines.
        allow_private: Also to addresses of private networks (10.0.0.0/8, fc00::/7 and the like).
        url: Where to.
        url_env: The environment variable of the governance worker that holds ``url``, where that is
            a secret.
        url_file: The file that holds it.
        connect_timeout_ms: For the connection, TLS included.
        read_timeout_ms: For the answer to begin, and between its parts.
        timeout_ms: For all of it.
    """

    allow_http: bool = False
    allow_private: bool = False
    url: str | None = None
    url_env: VariableName | None = None
    url_file: FileName | None = None
    connect_timeout_ms: TimeoutMs = 5_000
    read_timeout_ms: TimeoutMs = 15_000
    timeout_ms: TimeoutMs = 20_000

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        checked_url(url, info.data.get("allow_http", False))
        if not is_stored(info):
            require_allowed(url, info.data.get("allow_private", False))
        return url

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        given = [key for key in ("url", "url_env", "url_file") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one of them")
        if not given and not self.has_usual_address:
            raise ValueError("says nowhere to: add url, url_env or url_file")
        return self

    @property
    def has_usual_address(self) -> bool:
        """Whether there is an address that holds without one being written."""
        return False


class WebhookChannel(HttpChannel):
    """A webhook that receives alerts as CloudEvents, signed after Standard Webhooks.

    Attributes:
        kind: ``webhook``.
        secret_env: The environment variable of the governance worker that holds the secret
            (``whsec_...``). The secret itself never stands in the file.
        secret_envs: Several of them: each message is signed with all, so that a receiver may move
            from one to the next.
        secret_file: The file that holds it, such as a mounted secret.
        secret_files: Several of them.
    """

    kind: Literal["webhook"] = "webhook"
    secret_env: VariableName | None = None
    secret_envs: list[VariableName] = []
    secret_file: FileName | None = None
    secret_files: list[FileName] = []

    @model_validator(mode="after")
    def _is_signed(self) -> Self:
        if not self.variables and not self.files:
            raise ValueError(
                "is not signed: add secret_env, with the name of the variable that holds its secret"
            )
        return self

    @property
    def variables(self) -> list[str]:
        """All variables that hold a secret, without repeats."""
        named = [] if self.secret_env is None else [self.secret_env]
        return list(dict.fromkeys([*named, *self.secret_envs]))

    @property
    def files(self) -> list[str]:
        """All files that hold a secret, without repeats."""
        named = [] if self.secret_file is None else [self.secret_file]
        return list(dict.fromkeys([*named, *self.secret_files]))


class AlertmanagerChannel(HttpChannel):
    """An Alertmanager, over version 2 of its API; it groups and silences by itself.

    Attributes:
        kind: ``alertmanager``.
        secret_env: The variable that holds a bearer token, where it wants one.
        secret_file: The file that holds it.
        labels: Added to those of every alert.
    """

    kind: Literal["alertmanager"]
    secret_env: VariableName | None = None
    secret_file: FileName | None = None
    labels: dict[LabelName, str] = {}


class PagerDutyChannel(HttpChannel):
    """A service of PagerDuty, over version 2 of its Events API.

    Attributes:
        kind: ``pagerduty``.
        secret_env: The variable that holds the integration (routing) key.
        secret_file: The file that holds it.
    """

    kind: Literal["pagerduty"]
    secret_env: VariableName | None = None
    secret_file: FileName | None = None

    @model_validator(mode="after")
    def _has_one_key(self) -> Self:
        if (self.secret_env is None) == (self.secret_file is None):
            raise ValueError(
                "needs its integration key: add secret_env or secret_file, one of them"
            )
        return self

    @property
    def has_usual_address(self) -> bool:
        """``https://events.pagerduty.com``."""
        return True


class SlackChannel(HttpChannel):
    """A webhook as Slack has them; Mattermost and others take the same.

    Attributes:
        kind: ``slack``.
    """

    kind: Literal["slack"]


class AppriseChannel(ChannelBase):
    """Whatever Apprise reaches; needs ``headgate[apprise]``.

    Attributes:
        kind: ``apprise``.
        url_env: The variable that holds an Apprise URL, or several with spaces between.
        url_file: The file that holds them.
        timeout_ms: For all of it.
    """

    kind: Literal["apprise"]
    url_env: VariableName | None = None
    url_file: FileName | None = None
    timeout_ms: TimeoutMs = 30_000

    @model_validator(mode="after")
    def _has_one_address(self) -> Self:
        if (self.url_env is None) == (self.url_file is None):
            raise ValueError("says nowhere to: add url_env or url_file, one of them")
        return self


Channel = WebhookChannel | AlertmanagerChannel | PagerDutyChannel | SlackChannel | AppriseChannel
