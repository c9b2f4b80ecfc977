"""What MongoDB refused: kept whole, by whatever process, and taken once."""

import threading
from contextlib import suppress
from pathlib import Path

import bson
import pytest
from bson.errors import BSONError
from file_size_limit import file_size_limit
from made_up_records import numbered

from llm_audit.journal.records import Record, unpack
from llm_audit.store import rejected


def refused(seq: int, content: str = "") -> Record:
    return unpack(numbered(seq, content))


def keep(target: Path, nonce: str, record: Record, reason: str = "") -> None:
    rejected.keep(target, nonce, record, reason, target / nonce)


def kept(target: Path) -> list[int]:
    """Return the numbers of all the records that are kept, left where they are."""
    numbers = []
    for path in rejected.files(target):
        documents = bson.decode_all(path.read_bytes())
        numbers += [document["record"]["seq"] for document in documents]
    return numbers


def test_a_record_is_kept_whole_with_the_reason(tmp_path: Path) -> None:
    """What was refused can be read by anybody, and be sent again as it was."""
    record = refused(7, "what was said")._replace(notes=["a note"], blobs=["1.blob"])
    keep(tmp_path, "nonce", record, "code 121: failed validation")
    (path,) = rejected.files(tmp_path)
    assert path == tmp_path / "rejected" / "nonce.bson"
    (document,) = bson.decode_all(path.read_bytes())
    assert document["reason"] == "code 121: failed validation"
    assert document["record"]["doc"] == {"content": "what was said"}
    assert document.keys() == {"rejected_at", "reason", "record"}

    with rejected.taking(path) as records:
        (taken,) = records
    assert taken._replace(doc=bytes(taken.doc), notes=list(taken.notes)) == record._replace(
        doc=bytes(record.doc)
    )


def test_it_is_for_the_owner_only(tmp_path: Path) -> None:
    """What was refused holds prompts in plain text: mode 0600 in a folder of mode 0700."""
    keep(tmp_path, "nonce", refused(1))
    (path,) = rejected.files(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_was_taken_is_gone(tmp_path: Path) -> None:
    """A file whose records were taken is removed; the next refusal begins another."""
    for seq in (1, 2, 3):
        keep(tmp_path, "nonce", refused(seq))
    (path,) = rejected.files(tmp_path)
    with rejected.taking(path) as records:
        assert [record.seq for record in records] == [1, 2, 3]
    assert rejected.files(tmp_path) == []
    with pytest.raises(FileNotFoundError), rejected.taking(path):
        pass
    keep(tmp_path, "nonce", refused(4))
    assert kept(tmp_path) == [4]


def test_what_was_not_taken_to_the_end_stays(tmp_path: Path) -> None:
    """Where sending again fails, every record is still there."""
    for seq in (1, 2):
        keep(tmp_path, "nonce", refused(seq))
    (path,) = rejected.files(tmp_path)

    def send_some() -> None:
        with rejected.taking(path) as records:
            next(iter(records))
            raise ConnectionError

    with pytest.raises(ConnectionError):
        send_some()
    assert kept(tmp_path) == [1, 2]


def test_a_damaged_file_stays_as_it_is(tmp_path: Path) -> None:
    """What is no refused record is left for whoever wants to look."""
    keep(tmp_path, "nonce", refused(1))
    (path,) = rejected.files(tmp_path)
    with path.open("ab") as file:
        file.write(b"damage")
    content = path.read_bytes()
    taken = []
    with pytest.raises(BSONError), rejected.taking(path) as records:
        taken += [record.seq for record in records]
    assert path.read_bytes() == content


def test_only_refused_records_are_found(tmp_path: Path) -> None:
    """Damaged rests of journals lie in the same folder, and are none."""
    assert rejected.files(tmp_path) == []
    for nonce in ("b", "a"):
        keep(tmp_path, nonce, refused(1))
    (tmp_path / "rejected" / "a-00000001.damaged").touch()
    assert [path.name for path in rejected.files(tmp_path)] == ["a.bson", "b.bson"]


def test_media_are_kept_with_the_record(tmp_path: Path) -> None:
    """What a refused record names lies beside it, until it is taken."""
    (tmp_path / "nonce").mkdir()
    blob = tmp_path / "nonce" / "1.blob"
    blob.write_bytes(b"media")
    keep(tmp_path, "nonce", refused(1)._replace(blobs=["1.blob", "2.blob"]))
    blob.unlink()
    beside = tmp_path / "rejected" / "nonce.media" / "1.blob"
    assert beside.read_bytes() == b"media"

    (path,) = rejected.files(tmp_path)
    with rejected.taking(path) as records:
        assert [list(record.blobs) for record in records] == [["1.blob", "2.blob"]]
        assert beside.exists()
    assert list(path.parent.iterdir()) == []


def test_what_is_refused_again_keeps_its_media(tmp_path: Path) -> None:
    """A record that MongoDB refuses a second time still has beside it what it names."""
    (tmp_path / "nonce").mkdir()
    (tmp_path / "nonce" / "1.blob").write_bytes(b"media")
    keep(tmp_path, "nonce", refused(1)._replace(blobs=["1.blob"]))
    (path,) = rejected.files(tmp_path)
    with rejected.taking(path) as records:
        for record in records:
            rejected.keep(tmp_path, "nonce", record, "", rejected.media_folder(path))
    assert kept(tmp_path) == [1]
    (again,) = rejected.files(tmp_path)
    assert (rejected.media_folder(again) / "1.blob").read_bytes() == b"media"


def test_what_is_refused_meanwhile_does_not_wait(tmp_path: Path) -> None:
    """While somebody takes a file, which may last, what is refused goes to another."""
    keep(tmp_path, "nonce", refused(1))
    (path,) = rejected.files(tmp_path)
    with rejected.taking(path) as records:
        keep(tmp_path, "nonce", refused(2))
        assert [record.seq for record in records] == [1]
    (further,) = rejected.files(tmp_path)
    assert kept(tmp_path) == [2]
    assert rejected.nonce_of(further) == rejected.nonce_of(path) == "nonce"


def test_a_full_disk_spoils_nothing(tmp_path: Path) -> None:
    """A record for which there is no room is an error, and those before it can still be taken."""
    keep(tmp_path, "nonce", refused(1))
    (path,) = rejected.files(tmp_path)
    with file_size_limit(path.stat().st_size + 50), pytest.raises(OSError, match="space"):
        keep(tmp_path, "nonce", refused(2))
    keep(tmp_path, "nonce", refused(3))
    with rejected.taking(path) as records:
        assert [record.seq for record in records] == [1, 3]


def test_keeping_while_taking_loses_nothing(tmp_path: Path) -> None:
    """However keepers and takers meet, each record is taken once or still there."""
    keepers = 3
    each = 200
    taken: list[int] = []
    done = threading.Event()

    def record(number: int) -> None:
        for seq in range(number * each, (number + 1) * each):
            keep(tmp_path, "nonce", refused(seq))

    def take() -> None:
        while not done.is_set():
            for path in rejected.files(tmp_path):
                # another taker may have been faster
                with suppress(FileNotFoundError), rejected.taking(path) as records:
                    taken.extend(record.seq for record in records)

    takers = [threading.Thread(target=take) for _ in range(2)]
    recorders = [threading.Thread(target=record, args=(number,)) for number in range(keepers)]
    for thread in (*takers, *recorders):
        thread.start()
    for thread in recorders:
        thread.join()
    done.set()
    for thread in takers:
        thread.join()
    assert sorted(taken + kept(tmp_path)) == list(range(keepers * each))
    assert taken
