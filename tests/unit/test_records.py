"""A record: what its checksum covers, and how damage is told from a newer version."""

import zlib
from contextlib import suppress
from itertools import product

import bson
import pytest
from bson.int64 import Int64
from made_up_records import numbered, packed

from llm_audit.journal.records import (
    FORMAT_VERSION,
    LENGTH_BYTES,
    OTHER,
    OWN,
    START,
    VERDICT,
    DamagedRecordError,
    JournalVersionError,
    Record,
    pack,
    seal,
    seq_of,
    unpack,
)

CRC_NAME_BYTES = range(5, 8)  # nobody reads by it: the checksum is known by its place
RECORD = numbered(7, "what was said")
BLOB = f"{'0' * 64}.00000000-0000-4000-8000-000000000000.blob"


def flipped(record: bytes, position: int, bit: int = 0) -> bytes:
    """Change one bit of a record."""
    changed = bytearray(record)
    changed[position] ^= 1 << bit
    return bytes(changed)


def sealed(raw: bytes | bytearray, seq: int = 1) -> bytes:
    record = bytearray(raw)
    seal(record, seq)
    return bytes(record)


def of_version(version: int) -> bytes:
    """Make a record of another format, which agrees with ours in how it begins."""
    fields = {"crc": Int64(0), "v": version, "seq": Int64(0), "what": "ever", "follows": [1]}
    return sealed(bson.encode(fields))


def test_a_record_comes_back_as_it_was_made() -> None:
    """Every field is read as it was given, and the call's fields stay in BSON."""
    doc = bson.encode({"content": [1, None]})
    raw = sealed(pack(OWN, "id", 2**60, doc, notes=["a note"], blobs=[BLOB]), 2**40)
    read = unpack(raw)

    assert (read.op, read.id, read.seq, read.key) == (OWN, "id", 2**40, 2**60)
    assert (read.doc, list(read.notes), list(read.blobs)) == (doc, ["a note"], [BLOB])
    assert seq_of(bytearray(raw)) == 2**40


def test_what_is_sliced_and_what_is_decoded_are_the_same() -> None:
    """A record is read alike, whether its fields are found by their places or by their names."""
    doc = bson.encode({"content": "\x02id\0\x03doc\0"})
    for op, call_id in ((START, "a"), (OWN, "\x02id\0"), (OTHER, ""), (VERDICT, "é")):
        fields = bson.decode(pack(op, call_id, 7, doc))
        usual = sealed(bson.encode(fields | {"key": Int64(7), "crc": Int64(0), "seq": Int64(0)}), 3)
        moved = {name: fields.pop(name) for name in ("op", "id", "key", "doc")}
        fields |= {"crc": Int64(0), "seq": Int64(0), "doc": moved.pop("doc")} | moved
        unusual = sealed(bson.encode(fields | {"key": Int64(7)}), 3)

        assert usual != unusual
        assert unpack(usual) == unpack(unusual) == Record(op, call_id, 3, 7, doc, (), ())


def test_a_record_is_what_bson_makes_of_its_fields() -> None:
    """What is joined from parts is, byte by byte, the document that it is said to be."""
    doc = {"messages": [{"role": "user", "content": "é"}], "temperature": 0.5}
    for op, call_id, lists in (
        (START, "0190f7a2-0000-7000-8000-000000000001", {}),
        (OWN, "", {"notes": ["a", "b"]}),
        (OTHER, "ünusual \0 id", {"notes": ["a"], "blobs": [BLOB]}),
    ):
        fields = {"crc": Int64(0), "v": FORMAT_VERSION, "seq": Int64(0), "op": op, "id": call_id}
        fields |= {"key": Int64(2**60 + 1), "doc": doc} | lists

        assert pack(op, call_id, 2**60 + 1, bson.encode(doc), **lists) == bson.encode(fields)


def test_what_is_not_given_takes_no_room() -> None:
    """A record without notes and blobs has neither."""
    assert bson.decode(RECORD).keys() == {"crc", "v", "seq", "op", "id", "key", "doc"}
    assert list(unpack(RECORD).notes) == list(unpack(RECORD).blobs) == []


def test_the_checksum_is_a_usual_one() -> None:
    """Whoever has the file can check it: CRC-32 of all that follows it."""
    assert bson.decode(RECORD)["crc"] == zlib.crc32(RECORD[17:])


def test_no_flipped_bit_goes_unseen() -> None:
    """Whichever bit is wrong, behind the length by which it was read, the record is damaged."""
    unseen = []
    for position, bit in product(range(LENGTH_BYTES, len(RECORD)), range(8)):
        with suppress(DamagedRecordError):
            read = unpack(flipped(RECORD, position, bit))
            if read != unpack(RECORD) or position not in CRC_NAME_BYTES:
                unseen.append((position, bit))

    assert unseen == []


@pytest.mark.parametrize("length", [0, 1, 4, 16, 36, 37, len(RECORD) - 1])
def test_a_part_of_a_record_is_damaged(length: int) -> None:
    """A record that was cut short is none."""
    with pytest.raises(DamagedRecordError):
        unpack(RECORD[:length])


@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 2**31 - 1, 0, -1])
def test_another_version_is_not_read(version: int) -> None:
    """A record of another format is for the llm-audit that wrote it."""
    with pytest.raises(JournalVersionError):
        unpack(of_version(version))


@pytest.mark.parametrize("position", [9, 20, 30, 45])
def test_another_version_with_a_wrong_checksum_is_damage(position: int) -> None:
    """A version that only a flipped bit made so does not keep a journal from being read."""
    with pytest.raises(DamagedRecordError):
        unpack(flipped(of_version(FORMAT_VERSION + 1), position))


def test_a_right_checksum_over_no_record_is_damage() -> None:
    """What has the checksum of a record and not its fields is no record."""
    fields = bson.decode(packed(1))
    del fields["doc"]
    with pytest.raises(DamagedRecordError):
        unpack(sealed(bson.encode(fields)))
    broken = bytearray(packed(1))
    broken[37] = 0x7F  # an element type that BSON does not have
    with pytest.raises(DamagedRecordError):
        unpack(sealed(broken))
