"""Short answers of the guards: they name the fix, and repeat nothing of what was sent."""

from collections.abc import Iterable
from typing import TypeAlias

from starlette.types import Receive, Scope, Send

Header: TypeAlias = tuple[bytes, bytes]


async def refuse(send: Send, status: int, why: str, headers: Iterable[Header] = ()) -> None:
    """Answer with a sentence.

    Args:
        send: ASGI's.
        status: Of HTTP, 400 or above.
        why: What is wrong, and the fix.
        headers: Further ones.
    """
    body = f"{why}\n".encode()
    plain = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": "http.response.start", "status": status, "headers": [*plain, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def values_of(scope: Scope, name: bytes) -> list[bytes]:
    """Return all values of a header, as they came."""
    return [value for key, value in scope["headers"] if key == name]


async def is_http(scope: Scope, receive: Receive, send: Send) -> bool:
    """Tell whether this is a request; a WebSocket is closed, and the lifespan is the app's."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
    return bool(scope["type"] == "http")
