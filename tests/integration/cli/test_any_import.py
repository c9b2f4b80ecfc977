"""Whatever a file for `import` holds: its good calls come in, and every list shows them."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from anything import TEXTS, VALUES, bent, no_hang
from bson import json_util
from made_up_calls import Call
from properties import few, given, st
from pymongo.database import Database
from whole_documents import ANTHROPIC, OPENAI

Shell = Callable[..., Any]
GOOD = [{"_id": f"good {n}", "status": "SUCCESS", "model": "good"} for n in range(2)]
# What is there already, under the ids of what the bent documents are made from.
THEIRS = [
    {"_id": call["_id"], "status": "ERROR", "model": "theirs"} for call in (OPENAI, ANTHROPIC)
]
DOCUMENTS = bent([OPENAI, ANTHROPIC])


def as_json(document: Any) -> bytes:
    return json_util.dumps(document).encode("utf-8", "surrogatepass").replace(b"\n", b" ")


def as_plain_json(document: Any) -> bytes:
    return json.dumps(document, default=str).encode().replace(b"\n", b" ")


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw a line that is a call but for a few places or bytes, or anything."""
    kind = draw(st.sampled_from(["extended", "plain", "text", "bytes"]))
    if kind == "text":
        text = draw(TEXTS | st.text(st.sampled_from('{}[]":,$0e-')))
        return text.replace("\n", "").encode("utf-8", "surrogatepass")
    if kind == "bytes":
        return draw(st.binary(max_size=20)).replace(b"\n", b"")
    line = (as_json if kind == "extended" else as_plain_json)(draw(DOCUMENTS | VALUES))
    return damaged(draw, line).replace(b"\n", b"")


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Flip, cut or double a few bytes, or leave them."""
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.integers(0, 40))
        middle = draw(st.binary(max_size=4) | st.just(data[place : place + length] * 2))
        data = data[:place] + middle + data[place + length :]
    return data


@few
@given(bad=st.lists(lines(), max_size=4), packed=st.booleans())
def test_lines_beside_the_good_ones(
    bad: list[bytes], packed: bool, shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """A line costs itself only, whatever is in it, and overwrites nothing."""
    database["llm_calls"].delete_many({})
    database["llm_calls"].insert_many(THEIRS)
    whole = b"\n".join([as_json(GOOD[0]), *bad, as_plain_json(GOOD[1]), b""])
    brought_in(shell, tmp_path, gzip.compress(whole) if packed else whole)
    assert database["llm_calls"].count_documents({"model": "good"}) == len(GOOD)
    assert list(database["llm_calls"].find({"model": "theirs"})) == THEIRS


@st.composite
def dumps(draw: st.DrawFn) -> bytes:
    """Draw what mongodump might have written, and a disk have damaged."""
    documents = [GOOD[0], *draw(st.lists(DOCUMENTS, max_size=3)), GOOD[1]]
    data = b""
    for document in documents:
        try:
            data += bson.encode(document)
        except (bson.errors.BSONError, OverflowError):
            continue
    return damaged(draw, data)


@few
@given(data=dumps() | st.binary(), packed=st.booleans())
def test_a_damaged_dump(
    data: bytes, packed: bool, shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """It is read as far as it goes."""
    database.drop_collection("llm_calls")
    if packed:
        data = gzip.compress(data)
        data = data[: random.Random(len(data)).randrange(len(data) + 1)]
    brought_in(shell, tmp_path, data)


def brought_in(shell: Shell, folder: Path, data: bytes) -> None:
    file = folder / "calls"
    file.write_bytes(data)
    with no_hang():
        for command in (("import", file), ("calls",), ("calls", "--json"), ("failures",)):
            ended = shell(*command)
            assert "mistake in" not in ended.errors, ended.errors
            assert ended.code in {0, 1}, ended.errors
