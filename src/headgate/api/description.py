"""The OpenAPI description: what FastAPI makes of the routes, and what it leaves unsaid."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from headgate.api import problems

_ERRORS: Final = {
    "400": "The request cannot be understood.",
    "401": "Nobody is logged in.",
    "403": "This needs another role.",
    "404": "There is no such thing, or not for you.",
    "409": "It was refused.",
    "412": "Somebody has changed it since `If-Match`.",
    "413": "The request is too large.",
    "415": "The request is not JSON, or does not say so: `Content-Type: application/json`.",
    "422": "The request says something that makes no sense.",
    "429": "Too many requests; see `Retry-After`.",
    "503": "Temporal or Postgres does not answer; see `Retry-After`.",
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description, with errors as problem documents."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    schema = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        summary="Circuit breakers, tenant quotas and fair pools for job orchestrators.",
        description=(
            "Reads come from Postgres and say how old they are. Writes go to workflows: they need "
            "a reason, take an `Idempotency-Key`, an `If-Match` and `dry_run`, and stand in the "
            "audit."
        ),
        routes=app.routes,
    )
    components = schema["components"]["schemas"]
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    _say_what_is_refused(schema, components)
    components["Problem"] = problems.Problem.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if path in ("/healthz", "/readyz"):
                operation["responses"].pop("422", None)
                continue
            for status, description in _ERRORS.items():
                operation["responses"][status] = {"description": description, "content": content}
    app.openapi_schema = schema
    return schema


def _say_what_is_refused(schema: dict[str, Any], components: dict[str, Any]) -> None:
    """Say of requests what is true of them, and pydantic does not say.

    What a header or a query does not name is left out of it, there is no null; where the keys of an
    object have a pattern, there are no others; what tells the kinds of an object apart is required.
    """
    for operations in schema["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _without_null(parameter["schema"])
    for part in _objects(schema):
        if "patternProperties" in part:
            part.setdefault("additionalProperties", False)
        told_apart = part.get("discriminator")
        if isinstance(told_apart, dict):
            for reference in told_apart.get("mapping", {}).values():
                kind = components[reference.rpartition("/")[2]]
                kind["required"] = sorted({*kind.get("required", ()), told_apart["propertyName"]})


def _without_null(schema: dict[str, Any]) -> None:
    kinds = schema.get("anyOf")
    if kinds is None:
        return
    left = [kind for kind in kinds if kind != {"type": "null"}]
    if len(left) == 1:
        del schema["anyOf"]
        schema.update(left[0])
    else:
        schema["anyOf"] = left


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from _objects(value)
    elif isinstance(part, list):
        for value in part:
            yield from _objects(value)
