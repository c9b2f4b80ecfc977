"""Blobs in the spool: a name for each record, the disk space of each content once."""

import errno
import hashlib
import os
from pathlib import Path

import pytest
from file_size_limit import file_size_limit

from llm_audit.encoding.encode import Blob
from llm_audit.journal.blob_files import missing_bytes, sha256_of, write_blobs

DATA = b"an image" * 50_000


def blob(data: bytes = DATA) -> Blob:
    return Blob(hashlib.sha256(data).hexdigest(), data)


def test_equal_content_takes_the_disk_once(tmp_path: Path) -> None:
    """A thousand records that share an image have a file each, and all together its bytes once."""
    rooms = []
    paths = []
    for _ in range(1_000):
        rooms.append(missing_bytes(tmp_path, [blob()]))
        paths += [tmp_path / name for name in write_blobs(tmp_path, [blob()])]

    assert len(set(paths)) == 1_000
    assert {sha256_of(path.name) for path in paths} == {blob().sha256}
    assert {path.stat().st_ino for path in paths} == {paths[0].stat().st_ino}
    assert rooms == [len(DATA)] + [0] * 999


def test_each_name_can_be_deleted_by_itself(tmp_path: Path) -> None:
    """A file outlives those that share its content, whichever goes first."""
    first, second, third = (tmp_path / write_blobs(tmp_path, [blob()])[0] for _ in range(3))
    first.unlink()
    third.unlink()
    (fourth,) = write_blobs(tmp_path, [blob()])

    assert second.read_bytes() == DATA
    assert (tmp_path / fourth).read_bytes() == DATA


def test_a_folder_shares_nothing_with_another(tmp_path: Path) -> None:
    """Each process's folder can be adopted, and removed, without the others."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    paths = [folder / write_blobs(folder, [blob()])[0] for folder in folders]

    assert paths[0].stat().st_ino != paths[1].stat().st_ino
    assert [path.read_bytes() for path in paths] == [DATA, DATA]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no file can have two names, each is written."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    paths = [tmp_path / write_blobs(tmp_path, [blob()])[0] for _ in range(2)]

    assert [path.read_bytes() for path in paths] == [DATA, DATA]
    assert [path.stat().st_nlink for path in paths] == [1, 1]


def test_what_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    """Blobs that do not fit are not there in part, and nothing links to them later."""
    small = blob(b"small")
    with file_size_limit(1_000), pytest.raises(OSError, match="too large"):
        write_blobs(tmp_path, [small, blob()])
    assert list(tmp_path.iterdir()) == []

    names = write_blobs(tmp_path, [small, blob()])
    assert [(tmp_path / name).read_bytes() for name in names] == [b"small", DATA]


def test_only_its_owner_can_read_a_blob(tmp_path: Path) -> None:
    """Files with content have mode 0600."""
    (name,) = write_blobs(tmp_path, [blob()])

    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
