"""One line of what ``headgate apply`` changes, or would."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from headgate.model.configuration import Downstream, Group, Pool, Tenant
from headgate.model.contract import STORED, Contract
from headgate.model.governed import GovernedCall
from headgate.model.pool import PoolSettings
from headgate.model.settings import BreakerSettings, LedgerSettings
from headgate.view.changed import plain

_KINDS: Final[Mapping[str, tuple[type[Contract], ...]]] = {
    "breaker": (BreakerSettings, Downstream),
    "ledger": (LedgerSettings, Tenant),
    "governor": (PoolSettings, Pool),
    "group": (Group,),
    "activity": (GovernedCall,),
}
"""What a target may be: as workflows are told it, or as files have it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan.

    Attributes:
        action: ``create``: it does not run yet. ``update``: it runs with other settings.
            ``remove``: it is not listed any more, and falls back to the default.
        target: What, such as ``breaker/scanner``.
        before: What runs, or was applied.
        after: What the configuration says.
    """

    action: Literal["create", "update", "remove"]
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def lines(self) -> list[str]:
        """Return the fields that differ: ``path: old -> new``.

        Of what is new, or goes, those that are not as they are by default.
        """
        if self.before is None or self.after is None:
            whole = _flat(_said(self.target, self.before or self.after or {}))
            return [f"{path}: {_words(value)}" for path, value in whole.items()]
        old, new = _filled(self.before), _filled(self.after)
        return [
            f"{path}: {_words(old.get(path))} -> {_words(new.get(path))}"
            for path in sorted({*old, *new})
            if old.get(path) != new.get(path)
        ]


def change_of(target: str, before: dict[str, Any] | None, after: dict[str, Any] | None) -> Change:
    """Return the change from one to the other; None: it is not listed."""
    action: Literal["create", "update", "remove"] = "update"
    if before is None or after is None:
        action = "create" if before is None else "remove"
    return Change(action, target, before, after)


def _said(target: str, whole: dict[str, Any]) -> dict[str, Any]:
    """Return of settings what somebody has said; what an older release has stored, as it is."""
    for kind in _KINDS.get(target.partition("/")[0], ()):
        try:
            settings = kind.model_validate(whole, context=STORED)
        except ValidationError:
            continue
        if isinstance(settings, PoolSettings):  # of its tenants, as with any change: their groups
            groups = {name: group for name, group in settings.tenants.items() if group is not None}
            settings = settings.model_copy(update={"tenants": groups})
        said = settings.model_dump(mode="json", exclude_defaults=True)
        said.pop("source", None)  # what is new is listed
        if said.get("alerts") == {}:
            del said["alerts"]  # the rules of all, which nobody has written
        return said
    return whole


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return the plain values of settings by their path; ``{}`` where something has none."""
    if isinstance(value, dict) and value:
        found: dict[str, Any] = {}
        for key, inner in value.items():
            found |= _flat(inner, f"{path}.{key}" if path else str(key))
        return found
    return {path: value} if path else {}


def _filled(whole: dict[str, Any]) -> dict[str, Any]:
    """Return its plain values, where what has none is the same as what is not there."""
    return {path: value for path, value in _flat(whole).items() if value != {}}


def _words(value: Any) -> str:
    return "none" if value is None else plain(value)
