"""What is too large for a document moves out of it into blobs, and comes back."""

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Binary, json_util
from hypothesis import given
from hypothesis import strategies as st

from llm_audit.encoding.encode import Encoded, encode
from llm_audit.encoding.moved import SUBTYPE, Problem, media_before, restore

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
    mark = Binary(bytes.fromhex(sha256), SUBTYPE)
    reference = {"gridfs_id": mark, "length": len(data), "kind": kind}
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


SHA256 = "0" * 64
LOOK_ALIKES = [
    {"gridfs_id": "abc", "length": 1, "kind": "str"},
    {"gridfs_id": SHA256},
    {"gridfs_id": SHA256, "length": 1, "kind": "str"},
    {"gridfs_id": SHA256, "length": 1, "kind": "str", "preview": "p"},
    {"gridfs_id": SHA256, "length": 1, "kind": "str", "name": "a file of mine"},
    {"gridfs_id": bytes(32), "length": 1, "kind": "str"},
    {"gridfs_id": Binary(bytes(32), 0x80), "length": 1, "kind": "bytes"},
    [{"gridfs_id": SHA256, "length": 1, "kind": "list"}],
    {"gridfs_id": {"$binary": {"base64": "A" * 43 + "=", "subType": "f6"}}, "length": 1},
    {"gridfs_id": 5, "length": [], "kind": {}},
    {"gridfs_id": SHA256, "length": "abc", "kind": ["str"]},
]


def test_no_content_is_a_reference() -> None:
    """What only resembles one is content: stored as it is, and read so, whatever `media` says."""
    for value in LOOK_ALIKES:
        encoded = encode_value(value)
        call = {"schema_version": 2, "media": [SHA256], "value": stored(encoded)}

        assert stored(encoded) == value, value
        assert restore(call, never, media_before(call))["value"] == value, value


def test_our_subtype_is_taken_from_binaries_of_the_users() -> None:
    """Its bytes stay, and a note says so; in any place, whichever way it is encoded."""
    ours = Binary(bytes(32), SUBTYPE)
    for place in (
        lambda value: value,
        lambda value: {"gridfs_id": value, "length": 1, "kind": "str"},
        lambda value: [{"a": (value,)}],
        lambda value: bson.raw_bson.RawBSONDocument(bson.encode({"gridfs_id": value})),
        lambda value: bson.SON(gridfs_id=value, length=1, kind="bytes"),
        lambda value: type("Mine", (Binary,), {})(value, SUBTYPE),
        lambda value: [json_util.loads(json_util.dumps({"gridfs_id": value}))],
    ):
        encoded = encode_value(place(ours))

        assert bytes([SUBTYPE]) + bytes(32) not in encoded.raw, place(ours)
        assert bytes(32) in encoded.raw
    assert encode_value(ours).notes == (
        "value: 32 bytes of subtype 246, which are ours, stored as bytes",
    )
    for other in (Binary(bytes(31), SUBTYPE), Binary(bytes(32), 0x80), 0.3, 2**62 + 0xF6F6F6):
        assert encode_value(other)[1:] == ((), ()), "and no other"
        assert stored(encode_value(other)) == other


def never(sha256: str) -> bytes:
    """Fetch for what holds no reference."""
    raise AssertionError(sha256)


@pytest.mark.parametrize("version", [1, None])
def test_references_of_documents_of_before(version: int | None) -> None:
    """A hash that is a text counts in a document of schema 1, if `media` names it."""
    reference = {"gridfs_id": SHA256, "length": 3, "kind": "str"}
    call = {"media": [SHA256], "input": reference, "tools": [{**reference, "kind": "list"}]}
    if version:
        call["schema_version"] = version
    whole = {"list": [1, 2]}

    def fetch(_: str) -> bytes:
        return bson.encode(whole)

    assert restore(call, fetch, media_before(call))["tools"] == [1, 2]
    unnamed = {**call, "media": ["1" * 64]}
    assert restore(unnamed, never, media_before(unnamed)) == unnamed


def test_a_content_that_is_in_many_places_is_there_once() -> None:
    """Each is fetched and made once, so a small document cannot fill the memory."""
    image = "A" * 300_000
    encoded = encode_value([image] * 300)
    fetched: list[str] = []

    def fetch(sha256: str) -> bytes:
        fetched.append(sha256)
        return dict(encoded.blobs)[sha256]

    whole = restore(stored(encoded), fetch)
    assert whole == [image] * 300
    assert len({id(one) for one in whole}) == len(fetched) == 1


def test_what_cannot_be_put_back_says_why_in_its_place() -> None:
    """The rest of the document is restored all the same."""
    encoded = encode_value([BASE64, "a" * 300_000, b"\xff" * 300_000])
    first, second, third = stored(encoded)
    mislabelled = {**third, "kind": "str"}
    data = dict(encoded.blobs)

    def fetch(sha256: str) -> bytes | Problem:
        return Problem("gone") if sha256 == first["gridfs_id"].hex() else data[sha256]

    assert restore([first, second, mislabelled, {**third, "kind": "dict"}], fetch) == [
        {**first, "problem": "gone"},
        "a" * 300_000,
        {**mislabelled, "problem": "it is no str"},
        {**third, "kind": "dict", "problem": "it is no dict"},
    ]


def test_metadata_given_later_stay_beside_what_moved() -> None:
    """A dict that moved whole may have got keys since."""
    encoded = encode({"metadata": {f"k{n}": "v" * 500 for n in range(100)}}, 5_000, 5_000)
    call = bson.decode(encoded.raw)
    call["metadata"]["later"] = 1

    whole = restore(call, fetch_from(encoded))["metadata"]
    assert (whole["k99"], whole["later"]) == ("v" * 500, 1)


def test_renamed_keys_come_back_as_they_were() -> None:
    """Also keys that look as if we had renamed them."""
    dollar = "\uff04"
    for value in (
        {"$ref": "a", "$id": "b"},
        {"$ref": "a", f"{dollar}id": "b"},
        {"$ref": "a", f"{dollar}{dollar}id": "b", "$id": 1, f"{dollar}id": 2, "id": 3},
        {"$ref": "a", "$id": "b", "$db": 5},
        {"$ref": 5, "$id": "b"},
        {f"{dollar}id": "b"},
        {"$ref": "QUJD" * 100_000, f"{dollar}id": "b", "$id": "c"},
    ):
        encoded = encode_value([value])
        assert not isinstance(stored(encoded)[0], bson.DBRef), value
        assert restore(stored(encoded), fetch_from(encoded)) == [value], value


KEYS = st.sampled_from(
    ["gridfs_id", "length", "kind", "preview", "$ref", "$id", "\uff04id", "media", "schema_version"]
)
LEAVES = st.sampled_from(
    [
        SHA256,
        "str",
        "list",
        "dict",
        1,
        2,
        None,
        True,
        "QUJD" * 2_000,
        Binary(bytes(32), SUBTYPE),
        b"x" * 9_000,
    ]
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=15
)


def without_subtypes(value: Any) -> Any:
    """Return a value with the bytes of each Binary."""
    if isinstance(value, dict):
        return {key: without_subtypes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_subtypes(item) for item in value]
    return bytes(value) if isinstance(value, Binary) else value


@given(st.dictionaries(KEYS, VALUES))
def test_any_content_comes_back(value: Any) -> None:
    """Whatever looks like what is ours, it is given back as it was, but for our subtype."""
    encoded = encode({"value": value}, 20_000, 5_000)
    call = {**bson.decode(encoded.raw), "schema_version": 2, "media": [SHA256]}

    back = restore(call, fetch_from(encoded), media_before(call))["value"]
    assert back == without_subtypes(value)
    assert bytes([SUBTYPE]) + bytes(32) not in bson.encode({"": back})


@given(st.dictionaries(KEYS, VALUES))
def test_any_document_is_read(document: Any) -> None:
    """Nothing that somebody has stored keeps a call from being read; each content is made once."""
    fetched: list[str] = []

    def fetch(sha256: str) -> bytes:
        fetched.append(sha256)
        return b"what is there"

    restore(document, fetch, media_before(document))
    assert len(fetched) <= 4, "one for each kind"
