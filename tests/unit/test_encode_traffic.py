"""What real providers sent and received is stored as it was."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest

from llm_audit.encoding.encode import encode
from llm_audit.encoding.moved import restore

TRAFFIC = Path(__file__).parents[3] / "shared" / "traffic"
FILES = sorted(TRAFFIC.glob("*.jsonl"))
NO_LIMIT = 2**40

pytestmark = pytest.mark.skipif(not FILES, reason=f"no recorded traffic in {TRAFFIC}")


def records() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the id and the bodies of every recorded call."""
    for file in FILES:
        for line in file.read_text().split("\n"):
            if line:
                record = json.loads(line)
                bodies = {name: record[name] for name in ("request", "response") if name in record}
                yield record.get("id", file.name), bodies or record


def differences(sent: Any, stored: Any, path: str = "") -> Iterator[str]:
    """Yield the paths at which two values differ."""
    if isinstance(sent, dict) and isinstance(stored, dict) and sent.keys() == stored.keys():
        for key in sent:
            yield from differences(sent[key], stored[key], f"{path}.{key}")
    elif isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        for index, (left, right) in enumerate(zip(sent, stored, strict=True)):
            yield from differences(left, right, f"{path}.{index}")
    elif (type(sent) is not type(stored) and not isinstance(stored, bson.Int64)) or sent != stored:
        yield path.removeprefix(".")


def test_every_record_comes_back_equal_but_for_what_is_noted() -> None:
    """The stored bodies differ from the recorded ones at the noted paths and nowhere else."""
    noted = {}
    for name, bodies in records():
        encoded = encode(bodies, NO_LIMIT, NO_LIMIT)
        paths = [note.rpartition(": ")[0] for note in encoded.notes]
        assert sorted(differences(bodies, bson.decode(encoded.raw))) == sorted(paths), name
        assert encoded.blobs == ()
        if encoded.notes:
            noted[name] = {note.rpartition(": ")[2] for note in encoded.notes}

    assert len(noted) == 3
    assert set().union(*noted.values()) == {"int beyond 64 bits stored as str"}


def test_every_record_can_be_restored() -> None:
    """With small limits, media and large bodies move out, and restoring brings all of it back."""
    moved = 0
    for name, bodies in records():
        whole = bson.decode(encode(bodies, NO_LIMIT, NO_LIMIT).raw)
        encoded = encode(bodies, 50_000, 10_000)
        assert len(encoded.raw) <= 50_000, name
        blobs = {blob.sha256: blob.data for blob in encoded.blobs}
        assert restore(bson.decode(encoded.raw), blobs.__getitem__) == whole, name
        moved += bool(blobs)

    assert moved > 10
