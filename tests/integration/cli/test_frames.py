"""What people do with exports: data frames of pandas and polars."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Decimal128
from made_up_calls import CALLS, Call
from on_demand import OnDemand
from pymongo.database import Database
from waiting import Calls

from llm_audit.exports.columns import ALL_COLUMNS
from llm_audit.exports.csv_lines import as_recorded

pandas, polars, parquet = map(OnDemand, ("pandas", "polars", "pyarrow.parquet"))

Shell = Callable[..., Any]

AT = datetime(2026, 5, 1, 12, 30, 0, 123_000, UTC)
CALL: dict[str, Any] = {
    "_id": "007",
    "status": "SUCCESS",
    "created_at": AT,
    "user_id": "42",
    "model": "gpt-4",
    "messages": [
        {"role": "user", "content": "Old?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": '- one\n=two, "three"'},
    ],
    "response_message": {"role": "assistant", "content": "ä\nb"},
    "total_tokens": 12,
    "estimated_cost": 0.25,
    "tags": ["a", "b"],
    "task": {"name": "tasks.ask", "retries": 1, "redelivered": False},
    "metadata": {"plan": "pro", "seats": [1, {"n": 2}]},
}
MEASURE = """
import sys, tracemalloc
import pyarrow
from llm_audit.cli import main
file, limit = sys.argv[1:]
main(["export", "--format", "parquet", "--output", f"{file} none", "--since", "2026-05-01"])
tracemalloc.start()
code = main(["export", "--format", "parquet", "--output", file, "--limit", limit])
print(code, tracemalloc.get_traced_memory()[1] + pyarrow.default_memory_pool().max_memory())
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls"


def test_parquet_has_every_field_with_its_type(shell: Shell, calls: Calls, file: Path) -> None:
    """Numbers, dates and lists of names are that; what has fields itself is JSON."""
    calls.insert_many([CALL, {"_id": "008", "status": "PENDING"}])

    ended = shell("export", "--format", "parquet", "--output", file)

    assert ended.errors == f"llm-audit: 2 calls exported to {file}.\n"
    for frame in (pandas.read_parquet(file), polars.read_parquet(file).to_pandas()):
        assert list(frame.columns) == list(ALL_COLUMNS)
        row = frame.iloc[0]
        assert (row["id"], row["user_id"], row["status"]) == ("007", "42", "SUCCESS")
        assert row["created_at"].to_pydatetime() == AT
        assert (row["total_tokens"], row["estimated_cost"]) == (12, 0.25)
        assert list(row["tags"]) == ["a", "b"]
        assert (row["task.name"], row["task.retries"], row["task.redelivered"]) == (
            "tasks.ask",
            1,
            False,
        )
        assert (row["prompt"], row["answer"]) == ('- one\n=two, "three"', "ä\nb")
        for name in ("messages", "response_message", "metadata"):
            assert json.loads(row[name]) == CALL[name]
        assert frame.iloc[1].dropna().to_dict() == {"id": "008", "status": "PENDING"}


def test_columns_and_limit_select(shell: Shell, calls: Calls, file: Path) -> None:
    """A column is a field, what is in one, prompt or answer, in the order that was asked for."""
    calls.insert_many([CALL, {"_id": "008", "status": "PENDING"}])
    words = ["--columns", "metadata.plan,id,prompt,metadata.seats,tags", "--limit", "1"]
    said = ["pro", "007", '- one\n=two, "three"', [1, {"n": 2}], ["a", "b"]]

    [line] = map(json.loads, shell("export", *words).lines)
    table = shell("export", "--format", "csv", *words).output
    shell("export", "--format", "parquet", *words, "--output", file)

    assert list(line.items()) == list(zip(words[1].split(","), said, strict=True))
    assert table == (
        '"metadata.plan","id","prompt","metadata.seats","tags"\n'
        '"pro","007","\'- one\n\'=two, ""three""","[1, {""n"": 2}]","[""a"", ""b""]"\n'
    )
    [row] = parquet.read_table(file).to_pylist()
    assert row == {**dict(line), "metadata.seats": '[1, {"n": 2}]'}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--columns", "modle"], "'modle': no such column. Did you mean model?"),
        (["--columns", "_id"], "'_id': no such column. Did you mean id?"),
        (["--columns", ""], "'': no such column."),
        (["--extended-json", "--columns", "id"], "--extended-json is for whole calls"),
        (["--extended-json", "--format", "csv"], "--extended-json is for whole calls"),
        (["--format", "openai", "--columns", "id"], "leave out --columns."),
        (["--format", "parquet"], "name a new file with --output."),
        (["--format", "parquet", "-o", "-"], "name a new file with --output."),
        (["--format", "parquet", "--resume", "{file}"], "name a new file with --output."),
        (["--columns", "model", "--resume", "{file}"], "--resume needs ids"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_said(
    words: list[str], complaint: str, shell: Shell, file: Path
) -> None:
    """In one line, with what to do, before anything is written."""
    ended = shell("export", *(word.format(file=file) for word in words))

    assert (ended.code, ended.output, file.exists()) == (2, "", False)
    assert complaint in ended.errors


def test_values_of_another_type_leave_their_cell_empty(
    shell: Shell, calls: Calls, file: Path
) -> None:
    """What an import or a program of somebody's own left there is counted, and costs no more."""
    odd = {"total_tokens": "many", "created_at": "today", "tags": "a", "latency_ms": True}
    kept = {"estimated_cost": Decimal128("0.5"), "prompt_tokens": 3.0, "user_id": 5}
    calls.insert_one({"_id": "1", "status": "SUCCESS", **odd, **kept})

    ended = shell("export", "--format", "parquet", "--output", file)

    [row] = parquet.read_table(file).to_pylist()
    assert {name: row[name] for name in odd} == dict.fromkeys(odd)
    assert {name: row[name] for name in kept} == {
        "estimated_cost": 0.5,
        "prompt_tokens": 3,
        "user_id": "5",
    }
    assert "Values of another type than their column are left empty: 1 in " in ended.errors
    assert all(f"1 in {name}" in ended.errors for name in odd)


@pytest.mark.parametrize("form", ["parquet", "openai"])
def test_a_file_that_cannot_go_on_is_there_when_it_is_whole(
    form: str, shell: Shell, calls: Calls, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves nothing, so the next export takes the same name."""
    calls.insert_many([CALL, CALL | {"_id": "008"}])
    seen = []

    def interrupted(*_: object) -> object:
        seen.append([path.name for path in file.parent.iterdir() if path.is_file()])
        raise KeyboardInterrupt

    module = {"parquet": "parquet.value_in", "openai": "line_formats.fine_tuning_example"}[form]
    with monkeypatch.context() as patch:
        patch.setattr(f"llm_audit.exports.{module}", interrupted)
        code = shell("export", "--format", form, "--output", file).code

    assert code == 130
    assert seen == [[name for name in seen[0] if name.endswith(".part")]]
    assert [path for path in file.parent.iterdir() if path.is_file()] == []
    assert shell("export", "--format", form, "--output", file).code == 0
    assert file.exists()


@pytest.mark.usefixtures("shell")  # its settings
def test_parquet_takes_the_same_memory_for_any_number_of_calls(calls: Calls, file: Path) -> None:
    """What is in memory is written as a row group when it is some megabytes."""
    for batch in range(6):
        calls.insert_many(
            {"_id": f"{batch}{n:03}", "status": "SUCCESS", "system_prompt": f"{n}" * 20_000}
            for n in range(200)
        )
    peaks = []
    for limit in (400, 1200):
        command = [sys.executable, "-c", MEASURE, f"{file} {limit}", str(limit)]
        code, peak_bytes = map(int, subprocess.check_output(command).split())
        assert code == 0
        peaks.append(peak_bytes)

    groups = [parquet.ParquetFile(f"{file} {n}").num_row_groups for n in (400, 1200)]
    assert groups[1] > 2 * groups[0]
    assert peaks[1] < 1.2 * peaks[0]


def test_plain_json_and_csv_become_frames(
    shell: Shell, made_up: Database[Call], file: Path
) -> None:
    """Dates become dates, ids stay texts, in both libraries."""
    made_up["llm_calls"].insert_one(CALL | {"_id": "ffff"})
    columns = "id,created_at,user_id,total_tokens,prompt"
    expected = len(CALLS) + 1

    shell("export", "--columns", columns, "--output", file)
    text = ["id", "user_id"]
    frame = pandas.read_json(file, lines=True, dtype=dict.fromkeys(text, "str"))
    lazy = polars.read_ndjson(file, infer_schema_length=None).with_columns(
        polars.col("created_at").str.to_datetime(time_zone="UTC")
    )
    csv = file.with_suffix(".csv")
    shell("export", "--format", "csv", "--columns", columns, "--output", csv)
    table = pandas.read_csv(csv, dtype=dict.fromkeys(text, "str"), parse_dates=["created_at"])
    types = {"created_at": polars.Datetime("ms", "UTC"), "total_tokens": polars.Int64}
    other = polars.read_csv(csv, schema_overrides={**dict.fromkeys(text, polars.String), **types})

    for found in (frame, lazy.to_pandas(), table, other.to_pandas()):
        assert len(found) == expected
        row = found.set_index("id").loc["ffff"]
        assert (row["created_at"].to_pydatetime(), row["user_id"]) == (AT, "42")
        assert row["total_tokens"] == 12
        assert as_recorded(row["prompt"]) == '- one\n=two, "three"'


def test_without_the_extra_it_is_named(
    shell: Shell, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has no pyarrow gets one line with what to install, and no file."""
    monkeypatch.delitem(sys.modules, "llm_audit.exports.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    ended = shell("export", "--format", "parquet", "--output", file)

    assert (ended.code, file.exists()) == (2, False)
    assert ended.errors == (
        "llm-audit: --format parquet needs an extra: pip install 'llm-audit[cli,parquet]'.\n"
    )
