"""What is too large for a document moves out of it into blobs, and comes back."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import bson
import pytest

from llm_audit.encoding.encode import Encoded, encode, restore

MAX_BYTES = 10 * 2**20
MEDIA_LIMIT_BYTES = 256 * 2**10


def encode_value(value: Any, max_bytes: int = MAX_BYTES) -> Encoded:
    return encode({"before": "kept", "value": value}, max_bytes, MEDIA_LIMIT_BYTES)


def stored(encoded: Encoded) -> Any:
    return bson.decode(encoded.raw)["value"]


def fetch_from(encoded: Encoded) -> Callable[[str], bytes]:
    return dict(encoded.blobs).__getitem__


BASE64 = base64.b64encode(bytes(range(256)) * 2_000).decode()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (BASE64, "str"),
        (BASE64.replace("+", "-").replace("/", "_"), "str"),
        (f"data:image/png;base64,{BASE64}", "str"),
        (f"data:image/svg+xml,{'<svg/>' * 50_000}", "str"),
        (b"\0" * 300_000, "bytes"),
    ],
    ids=["base64", "base64url", "data-url", "data-url-without-base64", "bytes"],
)
def test_media_moves_out(value: Any, kind: str) -> None:
    """Media over the limit is a blob under its hash, with a reference in its place."""
    fields = {"messages": [{"content": [{"url": value}, {"url": value}, "text"]}]}
    encoded = encode(fields, MAX_BYTES, MEDIA_LIMIT_BYTES)

    data = value.encode() if isinstance(value, str) else value
    sha256 = hashlib.sha256(data).hexdigest()
    reference = {"gridfs_id": sha256, "length": len(data), "kind": kind}
    if kind == "str":
        reference["preview"] = value[:100]
    content = [{"url": reference}, {"url": reference}, "text"]
    assert bson.decode(encoded.raw) == {"messages": [{"content": content}]}
    assert encoded.blobs == ((sha256, data),)
    assert encoded.notes == tuple(
        f"messages.0.content.{n}.url: {len(data)} bytes moved to GridFS {sha256[:12]}"
        for n in (0, 1)
    )
    assert restore(bson.decode(encoded.raw), fetch_from(encoded)) == fields
    assert fields["messages"][0]["content"][0] == {"url": value}


@pytest.mark.parametrize(
    "value",
    [
        BASE64[:MEDIA_LIMIT_BYTES],
        "long prose " * 50_000,
        BASE64 + " and then prose",
        "data:a/" + "a" * 5_000_000,
    ],
    ids=["media", "prose", "both", "no-data-url"],
)
def test_what_is_no_large_media_stays(value: str) -> None:
    """Media within the limit, and text of any length that fits, stay in the document."""
    encoded = encode_value(value)

    assert stored(encoded) == value
    assert encoded[1:] == ((), ())


def test_media_in_a_text_of_a_users_type_moves_out() -> None:
    """A subclass of str is looked at as a str is."""

    class Text(str):
        __slots__ = ()

    value = "QUJD" * MEDIA_LIMIT_BYTES
    assert len(encode_value(Text(value)).blobs) == len(encode_value(value).blobs) == 1


def test_40_megabytes_of_base64_move_out_and_back() -> None:
    """A very large image leaves a small document and can be restored."""
    value = {"image_url": "data:image/png;base64," + "QUJD" * 10_000_000}
    encoded = encode_value(value)

    assert len(encoded.raw) < 1_000
    assert restore(stored(encoded), fetch_from(encoded)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"text": "one long text " * 100_000, "rest": "short"},
        {"texts": [f"{n} " * 10_000 for n in range(40)]},
        {"messages": [f"{n} " * 3_000 for n in range(300)]},
        [{"role": "user", "content": f"small {n}"} for n in range(25_000)],
        {f"key {n}": n for n in range(100_000)},
        {"k" * 1_200_000: 1},
        ["żółć " * 300_000],
    ],
    ids=["one", "some", "many", "small", "fields", "key", "utf-8"],
)
def test_what_does_not_fit_moves_out(value: Any) -> None:
    """Whatever makes a document too long, it comes to fit, keeps its shape and can be restored."""
    encoded = encode_value(value, max_bytes=1_000_000)

    assert len(encoded.raw) <= 1_000_000
    assert type(stored(encoded)) is type(value)
    assert encoded.blobs
    assert restore(stored(encoded), fetch_from(encoded)) == value


@pytest.mark.parametrize("make", [list, lambda items: {"items": items}], ids=["list", "dict"])
def test_moved_fields_may_hold_moved_media(make: Callable[[list[Any]], Any]) -> None:
    """Restoring goes on inside of what was restored."""
    value = make([{"n": n, "image": BASE64 if n == 7 else ""} for n in range(30_000)])
    encoded = encode_value(value, max_bytes=100_000)

    assert len(encoded.blobs) == 2
    assert restore(stored(encoded), fetch_from(encoded)) == value


def test_what_only_resembles_a_reference_is_left_alone() -> None:
    """A dict of the user's with some of a reference's keys is restored as it is."""
    value: list[Any] = [{"gridfs_id": "abc", "length": 1, "kind": "str"}, {"gridfs_id": "0" * 64}]
    value.append({"gridfs_id": "0" * 64, "length": 1, "kind": "str", "name": "a file of mine"})
    encoded = encode_value(value)

    assert restore(stored(encoded), fetch_from(encoded)) == value
