"""The files that pages are dressed with, served from memory under names that change with them."""

from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_FOREVER = "public, max-age=31536000, immutable"


@cache
def assets() -> dict[str, bytes]:
    """Return the content of each file, by the name that it is served under."""
    folder = files("llm_audit.web") / "static"
    named = {file.name: file for file in folder.iterdir() if _suffix(file.name) in _TYPES}
    return {asset_name(name): file.read_bytes() for name, file in named.items()}


@cache
def asset_name(name: str) -> str:
    """Return the name that a file is served under, which changes with its content.

    Args:
        name: Of the file in `static/`.
    """
    content = (files("llm_audit.web") / "static" / name).read_bytes()
    suffix = _suffix(name)
    return f"{name.removesuffix(suffix)}{sha256(content).hexdigest()[:12]}.{suffix}"


def _suffix(name: str) -> str:
    return name.rpartition(".")[2]


async def asset(request: Request) -> Response:
    """Answer with a file."""
    name = request.path_params["name"]
    content = assets().get(name)
    if content is None:
        return PlainTextResponse("There is no such file.", 404)
    media_type = _TYPES[_suffix(name)]
    return Response(content, headers={"cache-control": _FOREVER, "content-type": media_type})
