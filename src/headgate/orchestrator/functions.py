"""Functions that users give: whether they can be called as they will be."""

import inspect
from collections.abc import Callable
from typing import Any


def takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether a function can be called with so many arguments, as far as it says."""
    signature = _signature(function)
    if signature is None:
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def fit_each_other(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """Return whether there are arguments that both functions take, as far as they say."""
    signatures = filter(None, (_signature(one), _signature(other)))
    most = max((len(signature.parameters) for signature in signatures), default=0)
    return any(takes(one, count) and takes(other, count) for count in range(most + 1))


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a function gives its answer only when it is awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        type(function).__call__
    )


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return what a function takes; None: it does not say, as some built-in ones (``int``)."""
    try:
        # Of a wrapper its own, not what it wraps: that is what it can be called with.
        return inspect.signature(function, follow_wrapped=False)
    except ValueError:
        return None
