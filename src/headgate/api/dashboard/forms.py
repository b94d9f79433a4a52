"""Forms that are sent as an address: it holds what somebody has written, and nothing else."""

from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

BETWEEN = "*"
"""Between the parts of the name of a field: no name of anything governed has it."""


def said(request: Request) -> dict[str, str]:
    """Return the fields of a form in which something is written, by name."""
    return {name: text.strip() for name, text in request.query_params.items() if text.strip()}


def shortened(request: Request) -> Response | None:
    """Return the way to the same without empty fields, for an address to pass on; None: it is so.

    Browsers send every field of a form, and most are left empty.
    """
    fields = said(request)
    if len(fields) == len(request.query_params.multi_items()):
        return None
    parts = request.url.path.replace("\x00", "%2F").split("/")
    path = "/".join(quote(part, safe="%") for part in parts)
    query = f"?{urlencode(fields, safe=BETWEEN)}" if fields else ""
    return RedirectResponse(path + query, 303)
