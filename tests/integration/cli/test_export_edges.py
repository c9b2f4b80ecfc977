"""What an export must not harm: the file, the terminal, the spreadsheet, the next import."""

import csv
import io
import json
import os
import stat
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import SON, Binary, json_util
from bson.datetime_ms import DatetimeMS
from nowhere import NOWHERE
from waiting import PATIENCE, Calls

import llm_audit
from llm_audit import LLMLogger, SyncLLMCallRepository
from llm_audit.display.hidden import visible
from llm_audit.exports.csv_lines import as_recorded, no_formula

# what an import leaves out, and what it says of itself
OWN = dict.fromkeys(("imported_at", "imported_from", "outcome_key", "expires_at"), 0)
Shell = Callable[..., Any]

BEYOND_9999 = DatetimeMS(300_000_000_000_000)
CALL = {"_id": "a", "status": "SUCCESS", "model": "m"}


def test_a_uuid_goes_out_and_comes_back(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """What an app gives as metadata is exported, shown as it is stored, and imported again."""
    llm_audit.configure()
    call_id = LLMLogger.start(model="m", messages=[], metadata={"u": uuid.UUID(int=7)})
    LLMLogger.complete(call_id, response_message={"content": "x"})
    assert llm_audit.flush(PATIENCE)
    llm_audit.shutdown()
    file = tmp_path / "calls.jsonl"

    shown = shell("show", call_id, "--raw")
    exported = shell("export", "--extended-json", "--output", file)
    imported = shell("--collection", "copy", "import", file)

    assert (shown.code, exported.code, imported.code) == (0, 0, 0), shown.errors
    stored = json_util.loads(shown.output)["metadata"]["u"]
    assert stored == Binary.from_uuid(uuid.UUID(int=7))
    (call,), (copy,) = calls.find({}, OWN), calls.database["copy"].find({}, OWN)
    assert copy == call


def test_a_date_beyond_the_year_9999_goes_out_and_comes_back(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """MongoDB has dates that Python has not: they are kept."""
    calls.insert_one({**CALL, "metadata": {"at": BEYOND_9999}})
    file = tmp_path / "calls.jsonl"

    codes = [shell("show", "a").code, shell("show", "a", "--json").code]
    codes += [
        shell("export", "--extended-json", "--output", file).code,
        shell("export", "--format", "csv").code,
    ]
    codes += [shell("--collection", "copy", "import", file).code]

    options: Any = bson.CodecOptions(
        datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_AUTO
    )
    [copy] = calls.database["copy"].with_options(options).find()
    assert (codes, copy["metadata"]) == ([0] * 5, {"at": BEYOND_9999})


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"my precious notes", "jsonl"),
        (b"my precious notes", "csv"),
        (b'{"id": "a"}\nmy precious notes', "jsonl"),
        (b'{"_id": "a"}\n', "jsonl"),
        (b"a,b\n1,2\n", "csv"),
        (b'{"id": 7}\n', "jsonl"),
        (b'{"id": "\xff"}\n', "jsonl"),
        (b"\xff\n", "csv"),
    ],
)
def test_resume_looks_before_it_cuts(
    content: bytes, form: str, shell: Shell, tmp_path: Path
) -> None:
    """A file that is no export of that format is refused in one line, and left byte for byte."""
    file = tmp_path / "notes"
    file.write_bytes(content)

    ended = shell("export", "--format", form, "--resume", file)

    assert (ended.code, len(ended.errors.splitlines())) == (2, 1)
    assert "is no export in the format" in ended.errors
    assert file.read_bytes() == content


@pytest.mark.usefixtures("made_up")
def test_an_export_that_could_not_begin_is_not_in_the_way(shell: Shell, tmp_path: Path) -> None:
    """No file is left by one that MongoDB did not answer, so the next takes the same name."""
    file = tmp_path / "calls"

    failed = shell("--mongo-url", NOWHERE, "export", "--output", file)

    assert (failed.code, file.exists()) == (3, False)
    assert shell("export", "--output", file).code == 0


def test_a_hyphen_is_stdout(
    shell: Shell, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with other programs, and no file of that name is made."""
    monkeypatch.chdir(tmp_path)
    calls.insert_one(CALL)

    ended = shell("export", "--output", "-")

    assert (ended.lines, ended.errors) == (['{"id": "a", "status": "SUCCESS", "model": "m"}'], "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [("export",), ("show", "a", "--raw"), ("export", "--format", "csv"), ("calls", "--json")],
    ids="-".join,
)
def test_no_line_steers_a_terminal(words: tuple[str, ...], shell: Shell, calls: Calls) -> None:
    """Control characters are escaped in JSON, those beyond ASCII too, and replaced in CSV."""
    calls.insert_one({**CALL, "model": "a\x1b[2Jb\x9b31mc\x7f"})

    output = shell(*words).output

    assert not set("\x1b\x9b\x7f").intersection(output)
    if "csv" not in words:
        assert "\\u009b31m" in output


FORMULAS = [
    *(
        "=1+1",
        "+1",
        "-1",
        "@x",
        "'=1",
        "\t=1",
        "\r=1",
        "\uff1d1",
        " =1",
        "\u00a0\u3000=1",
        "\ufeff=1",
    ),
    *(
        "\u200b+1",
        "\U000e0041@1",
        "\u2800=1",
        "\ufe66\uff0b1",
        "\u2212cmd|' /C calc'!A0",
        "\u202e-1",
    ),
    *(
        "gpt;=cmd|' /C calc'!A0",
        'a;"=1',
        "a\t=1",
        "a|=1",
        "a\n- b\n- c",
        "a;;'=1",
        "a; \n'\t+1",
        '"=1',
    ),
    *(
        "x",
        "a;b",
        "it's",
        "'t",
        "a - b",
        "1-1",
        "a=b;c",
        "\ttab",
        "",
        "[1]",
        ";=",
        "=" * 99,
        ";'" * 9,
    ),
]


def test_no_text_in_csv_is_a_formula(shell: Shell, calls: Calls) -> None:
    """In no spreadsheet, whatever stands between its cells; and it can be told what was written."""
    call = {**CALL, "latency_ms": -1.5}
    calls.insert_many({**call, "_id": f"{n:03}", "model": t} for n, t in enumerate(FORMULAS))
    calls.insert_one({**call, "_id": "list", "tags": ["a", "=1", "b;=1"], "model": "m"})
    words = ["--columns", "id,model,tags,latency_ms"]

    output = shell("export", "--format", "csv", *words).output

    for between in ",;\t|":
        for row in csv.reader(io.StringIO(output, newline=""), delimiter=between):
            for cell in row:
                begin = unicodedata.normalize("NFKC", cell.lstrip('" \n\t\u00a0\u3000'))[:1]
                assert begin not in {*"=+-@\u2212"} or cell == "-1.5", (between, cell)
    rows = [*csv.DictReader(io.StringIO(output, newline=""))]
    for text, row in zip(FORMULAS, rows, strict=False):
        seen = visible(text.replace("\r", "\n"))
        assert as_recorded(row["model"]) == seen, row
        assert row["latency_ms"] == "-1.5"
        if seen in {"x", "a;b", "it's", "'t", "a - b", "1-1", "a=b;c", "[1]", ""}:
            assert row["model"] == seen
    assert json.loads(rows[-1]["tags"]) == ["a", "=1", "b;'=1"]
    frame = pytest.importorskip("pandas").read_csv(io.StringIO(output), keep_default_na=False)
    assert frame["model"].tolist() == [row["model"] for row in rows]
    assert frame["latency_ms"].tolist() == [-1.5] * len(rows)


def test_hidden_characters_and_formulas_cost_no_time() -> None:
    """A text of nothing but what may come before a formula is gone through once."""
    for text in ("\n" * 10**6, ";'" * 10**6, '"\t' * 10**6 + "x", " " * 10**6 + "="):
        assert as_recorded(no_formula(text)) == text


def test_resume_knows_an_id_that_was_written_otherwise(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """What keeps it from being a formula, or makes it visible, is no part of it."""
    ids = ["-1", "0", "=\u200b1", "A;=1", "a", "\u200b", "\u202e", "\U000e0041"]
    calls.insert_many(SON(CALL, _id=one) for one in ids)
    file, whole = tmp_path / "calls", shell("export", "--format", "csv").output
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + len(ids)
    for end in range(1, len(lines)):
        file.write_text("".join(lines[:end]))

        shell("export", "--format", "csv", "--resume", file)

        assert file.read_text() == whole, end


def test_resume_keeps_a_file_to_ourselves(
    shell: Shell, calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that others could read is closed to them; one of somebody else's is left alone."""
    calls.insert_one(CALL)
    file = tmp_path / "calls"
    file.touch(0o666)

    assert shell("export", "--resume", file).code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    before = file.read_bytes()
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    ended = shell("export", "--resume", file)
    assert (ended.code, "belongs to another user" in ended.errors) == (2, True)
    assert file.read_bytes() == before


@pytest.mark.parametrize("words", [(), ("--extended-json",)], ids=["plain", "extended"])
def test_references_go_out_and_come_back(
    words: tuple[str, ...], shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Media are found again in both forms, and what only looks so stays content."""
    image = "QUJD" * 100_000
    look_alike = {"gridfs_id": "0" * 64, "length": 5, "kind": "str", "preview": "p"}
    said = [{"role": "user", "content": [{"image": image}, look_alike]}]
    llm_audit.configure()
    call_id = LLMLogger.start(model="m", messages=said, metadata={"n": [look_alike]})
    LLMLogger.complete(call_id, response_message={"content": "x"})
    assert llm_audit.flush(PATIENCE)
    llm_audit.shutdown()
    file = tmp_path / "calls.jsonl"

    codes = [shell("export", *words, "-o", file).code]
    with file.open("a") as more:  # which no export of ours holds
        odd = {"gridfs_id": "m", "length": 1, "kind": "str"}
        more.write(json.dumps({"id": "odd", "status": "SUCCESS", "media": ["m"], "input": odd}))
    codes += [shell("--collection", "copy", "import", file).code]

    copies = calls.database["copy"]
    call = SyncLLMCallRepository(copies).get(call_id, with_media=True)
    assert codes == [0, 0]
    assert call is not None
    assert (call.messages, call.metadata, call.media_problems) == (said, {"n": [look_alike]}, {})
    assert copies.find_one({"_id": "odd"}, {"_id": 0, "input": 1}) == {"input": odd}
