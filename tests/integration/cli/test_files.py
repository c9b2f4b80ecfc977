import csv
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import json_util
from made_up_calls import CALLS, Call
from patience import share
from pymongo.database import Database
from waiting import Calls

from llm_audit.exports.columns import PLAIN_COLUMNS
from llm_audit.store.indexes import call_indexes

Shell = Callable[..., Any]

OLDEST_FIRST = list(reversed(CALLS))
CHAT = {
    "_id": "chat",
    "status": "SUCCESS",
    "call_type": "CHAT",
    "system_prompt": "Be brief.",
    "messages": [{"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#/$defs/a"}}}],
    "response_message": {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []},
}

FORMS = [
    [],
    ["--extended-json"],
    ["--columns", "model,id,prompt"],
    ["--format", "csv"],
    ["--format", "csv", "--columns", "prompt,id"],
]
EXPORT_AND_MEASURE = """
import sys, tracemalloc
from llm_audit.cli import main
form, file = sys.argv[1:]
main(["export", "--format", form, "--output", f"{file}, none", "--since", "2026-05-01"])  # imports
tracemalloc.start()
code = main(["export", "--format", form, "--output", file])
print(code, tracemalloc.get_traced_memory()[1])
"""


def documents(calls: Calls) -> list[Call]:
    """Return calls without what an import leaves out, and without what it says of itself."""
    return [without(call) for call in calls.find().sort("_id", 1)]


def without(call: Call) -> Call:
    own = {"imported_at", "imported_from", "outcome_key", "expires_at"}
    return {name: value for name, value in call.items() if name not in own}


def import_into(shell: Shell, database: Database[Call], *arguments: object) -> tuple[Any, Calls]:
    """Import into another collection of the test's database."""
    ended = shell("--collection", "copy", "import", *arguments)
    return ended, database["copy"]


@pytest.mark.parametrize(("form", "name"), [([], "id"), (["--extended-json"], "_id")])
def test_what_is_exported_comes_back_equal(
    form: list[str], name: str, shell: Shell, made_up: Database[Call], tmp_path: Path
) -> None:
    """Every call goes out as a line, oldest first, and comes in as it was, indexes included."""
    file = tmp_path / "calls.jsonl"
    weight = {"outcome_key": bson.Int64(5), "expires_at": datetime(2126, 5, 1, tzinfo=UTC)}
    made_up["llm_calls"].update_many({}, {"$set": weight})

    exported = shell("export", *form, "--output", file)
    imported, copy = import_into(shell, made_up, file)

    lines = file.read_text().splitlines()
    said = f"llm-audit: {len(CALLS)} calls exported to {file}.\n"
    assert (exported.code, exported.output, exported.errors) == (0, "", said)
    assert [json.loads(line)[name] for line in lines] == [call["_id"] for call in OLDEST_FIRST]
    said = f"llm-audit: {len(CALLS)} calls imported, 0 there already, 0 refused.\n"
    assert (imported.output, imported.errors) == ("", said)
    assert documents(copy) == documents(made_up["llm_calls"])
    source = f"calls.jsonl sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    assert copy.distinct("imported_from") == [source]
    assert all(isinstance(call["imported_at"], datetime) for call in copy.find())
    assert all(weight.keys().isdisjoint(call) for call in copy.find())
    assert copy.index_information().keys() >= {str(i.document["name"]) for i in call_indexes()}


def test_importing_again_changes_nothing(
    shell: Shell, made_up: Database[Call], tmp_path: Path
) -> None:
    """What is there already is counted and left as it is."""
    file = tmp_path / "calls.jsonl"
    shell("export", "--output", file, "--since", "2026-05-02")
    import_into(shell, made_up, file)
    made_up["copy"].update_one({}, {"$set": {"status": "ABANDONED"}})
    changed = documents(made_up["copy"])

    again, copy = import_into(shell, made_up, file, "--json")

    [counts] = map(json.loads, again.lines)
    assert (again.code, counts["imported"], counts["already_there"]) == (0, 0, len(changed))
    assert documents(copy) == changed


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("cut_at", [0, 1, 9_000, 20_001, -1, None])
@pytest.mark.usefixtures("made_up")
def test_an_export_that_was_cut_off_goes_on(
    form: list[str], cut_at: int | None, shell: Shell, tmp_path: Path
) -> None:
    """--resume makes the file what one go would have made it, wherever it was cut."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    shell("export", *form, "--output", whole)
    cut.write_bytes(whole.read_bytes()[:cut_at])

    ended = shell("export", *form, "--resume", cut)

    assert ended.code == 0
    assert cut.read_bytes() == whole.read_bytes()


@pytest.mark.usefixtures("shell")  # its settings
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_an_export_takes_the_same_memory_for_any_number_of_calls(
    form: str, calls: Calls, tmp_path: Path
) -> None:
    """However many calls there are, only some hundreds of them are in memory at a time."""
    ended = {"status": "SUCCESS", "system_prompt": "x" * 2_000}
    calls.insert_many({"_id": f"{n:06}", **ended} for n in range(3_000))
    # in a process of its own: in this one, threads of other tests take memory too
    command = [sys.executable, "-c", EXPORT_AND_MEASURE, form, str(tmp_path / "calls")]
    code, peak_bytes = map(int, subprocess.check_output(command).split())

    assert code == 0
    assert peak_bytes < 4 * 2**20


@pytest.mark.usefixtures("made_up")
def test_resume_takes_filters_and_new_files(shell: Shell, tmp_path: Path) -> None:
    """A file that is not there yet is begun; filters hold for what is added."""
    file, wanted = tmp_path / "calls", ["--model", "gpt-4", "--since", "2026-05-01T12:00Z"]
    expected = shell("export", *wanted).output

    shell("export", "--resume", file, *wanted, "--until", "2026-05-02T00:00Z")
    shell("export", "--resume", file, *wanted)

    assert file.read_text() == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--output", "{file}"], "is there already: --resume "),
        (["--output", "{file}", "--format", "openai"], "is there already: name a new file."),
        (["--resume", "{file}"], "is no export in the format jsonl: "),
        (["--resume", "{file}", "--format", "csv"], "is no export in the format csv: "),
        (["--resume", "{file}", "--format", "openai"], "--resume needs ids"),
        (["--resume", "{file}", "--output", "x"], "leave out --output."),
    ],
    ids=["there already", "there for good", "no jsonl", "no csv", "without ids", "two files"],
)
def test_a_file_that_holds_something_else_is_left_alone(
    options: list[str], complaint: str, shell: Shell, tmp_path: Path
) -> None:
    """Nothing is written into a file that is no export of this kind."""
    file = tmp_path / "notes"
    file.write_text("my notes\n")

    ended = shell("export", *(option.format(file=file) for option in options))

    assert ended.code == 2
    assert complaint in ended.errors
    assert file.read_text() == "my notes\n"


@pytest.mark.usefixtures("made_up")
def test_csv_has_the_plain_fields(shell: Shell) -> None:
    """A row for each call, lists in JSON, tasks' fields with a dot, no bodies."""
    rows = list(csv.DictReader(shell("export", "--format", "csv").lines))

    assert list(rows[0]) == list(PLAIN_COLUMNS)
    assert [row["id"] for row in rows] == [call["_id"] for call in OLDEST_FIRST]
    for row, call in zip(rows, OLDEST_FIRST, strict=True):
        assert json.loads(row["tags"] or "[]") == call.get("tags", [])
        assert row["task.name"] == call.get("task", {}).get("name", "")
        assert row["estimated_cost"] == str(call.get("estimated_cost", ""))


@pytest.mark.many
def test_csv_keeps_what_was_said_as_it_was(shell: Shell, calls: Calls, tmp_path: Path) -> None:
    """Lines of a text stay lines, between quotes; what nobody sees is made visible."""
    calls.insert_many(
        {"_id": call_id, "status": "ERROR", "error_message": 'one,\n"two"\r\nthr\0ee'}
        for call_id in "ab"
    )
    file = tmp_path / "calls.csv"
    shell("export", "--format", "csv", "--output", file)

    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))

    said = 'one,\n"two"\nthr<U+0000>ee'
    assert [(row["id"], row["error_message"]) for row in rows] == [("a", said), ("b", said)]
    whole = file.read_bytes()
    for end in share(range(len(whole)), 29):
        file.write_bytes(whole[:end])
        assert shell("export", "--format", "csv", "--resume", file).code == 0
        assert file.read_bytes() == whole, end


def test_chats_go_out_to_fine_tune_with(shell: Shell, calls: Calls) -> None:
    """Successful chats of any type, with the answer last; others are counted, with the reason."""
    blocks = [{"type": "tool_result", "tool_use_id": "1", "content": "x"}]
    calls.insert_many(
        [
            CHAT,
            {**CHAT, "_id": "failed", "status": "ERROR"},
            {"_id": "embedding", "status": "SUCCESS", "call_type": "EMBEDDING", "input": "x"},
            {**CHAT, "_id": "unasked", "messages": [{"role": "user", "content": blocks}]},
            {**CHAT, "_id": "no answer", "response_message": None},
            {**CHAT, "_id": "z", "call_type": "RAG_QUERY", "provider": "anthropic"},
        ]
    )

    ended = shell("export", "--format", "openai")

    assert [json.loads(line) for line in ended.lines] == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hi"},
            ],
            "tools": CHAT["tools"],
        }
    ] * 2
    assert ended.errors == (
        "llm-audit: 4 of 6 calls are left out: 2 have no messages or no answer, 1 did not succeed, "
        "1 have a tool's call without its result, or the other way round.\n"
    )
    assert len(shell("export", "--format", "openai", "--type", "chat").lines) == 1


def test_what_was_said_later_comes_back_with_its_dates(
    shell: Shell, calls: Calls, tmp_path: Path
) -> None:
    """Dates inside a field that has fields are dates again, whatever field of the model it is."""
    at = datetime(2026, 5, 1, 12, 30, 0, 123_000, UTC)
    later = {
        "scores": [{"name": "thumbs", "value": 1, "source": "u", "at": at, "key": 7}],
        "annotations": [{"name": "plan", "key": 8}],
    }
    calls.insert_one(CHAT | {"created_at": at} | later)
    file = tmp_path / "calls.jsonl"
    shell("export", "--output", file)

    _, copy = import_into(shell, calls.database, file)

    assert documents(copy) == documents(calls)
    words = ["--columns", "id,scores.name,scores.value"]
    assert shell("export", *words).lines == [
        '{"id": "chat", "scores.name": ["thumbs"], "scores.value": [1]}'
    ]
    assert shell("export", "--format", "csv", *words).lines[1] == '"chat","[""thumbs""]","[1]"'


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", ["bson", "jsonl"])
def test_files_of_mongodump_and_gzip_come_in(
    form: str, packed: bool, shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """What a file is shows in its content, whatever its name."""
    lines = "".join(f"{json_util.dumps(call)}\n" for call in CALLS).encode()
    content = b"".join(map(bson.encode, CALLS)) if form == "bson" else lines
    file = tmp_path / "dump"
    file.write_bytes(gzip.compress(content) if packed else content)

    ended, copy = import_into(shell, database, file)

    assert ended.errors.startswith(f"llm-audit: {len(CALLS)} calls imported")
    assert documents(copy) == [without(call) for call in OLDEST_FIRST]


def test_what_is_no_call_is_refused_and_the_rest_comes_in(
    shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """Each line that cannot be taken is counted, the first ones are named, the exit code is 1."""
    file = tmp_path / "calls.jsonl"
    lines = [
        *('{"_id": "a", "status": "SUCCESS"}', "", "not JSON", '{"_id": 7, "status": "SUCCESS"}'),
        *('{"_id": "b", "status": "alive"}', '{"_id": {"$oid": "x"}}'),
        '{"_id": "c", "status": "ERROR"}',
    ]
    file.write_text("\n".join(lines))

    ended, copy = import_into(shell, database, file)

    assert ended.code == 1
    said, *refused = ended.errors.splitlines()
    assert said == "llm-audit: 2 calls imported, 0 there already, 4 refused."
    assert [call["_id"] for call in documents(copy)] == ["a", "c"]
    assert [line.partition(": ")[2] for line in refused] == [
        f"refused: {file}, line 3: no JSON of a call (JSONDecodeError)",
        f"refused: {file}, line 4: it has no id of a call",
        f"refused: {file}, line 5: it has no status of a call",
        f"refused: {file}, line 6: no JSON of a call (InvalidId)",
    ]


@pytest.mark.parametrize("form", ["bson", "gzip"])
def test_what_comes_before_damage_comes_in(
    form: str, shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """Of a file that breaks off, the whole calls are imported, and that is said."""
    content = b"".join(map(bson.encode, CALLS))
    file = tmp_path / "dump"
    file.write_bytes(content[:-100] if form == "bson" else gzip.compress(content)[:-2000])

    ended, copy = import_into(shell, database, file)

    assert ended.code == 1
    assert "cannot be read after document " in ended.errors
    assert 0 < len(documents(copy)) < len(CALLS)


def test_what_a_validator_refuses_is_named(
    shell: Shell, database: Database[Call], tmp_path: Path
) -> None:
    """MongoDB's refusal of one call holds up none of the others."""
    database.create_collection("copy", validator={"model": {"$ne": "forbidden"}})
    file = tmp_path / "calls.jsonl"
    forbidden = {"_id": "a", "status": "SUCCESS", "model": "forbidden"}
    file.write_text(f'{json.dumps(forbidden)}\n{{"_id": "b", "status": "SUCCESS"}}\n')

    ended, copy = import_into(shell, database, file)

    assert ended.code == 1
    assert "refused: a: MongoDB says Document failed validation" in ended.errors
    assert [call["_id"] for call in documents(copy)] == ["b"]


@pytest.mark.parametrize(
    "words", [["import"], ["export", "-o"], ["export", "--resume"]], ids=" ".join
)
def test_a_file_that_cannot_be_opened_is_a_wrong_argument(
    words: list[str], shell: Shell, tmp_path: Path
) -> None:
    """It is named in one line, without a traceback."""
    file = tmp_path / "none" / "calls"

    ended = shell(*words, file)

    assert (ended.code, ended.output) == (2, "")
    assert ended.errors == f"llm-audit: {file}: No such file or directory.\n"
