"""The command line as a process of its own: exit codes, pipes, widths, signals."""

import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_up_calls import Call, store
from nowhere import NOWHERE
from pymongo.database import Database
from rich.cells import cell_len
from waiting import PATIENCE, Calls

from llm_audit import embedded
from llm_audit.cli.commands.operations import indexes

Shell = Callable[..., Any]

PROGRAM = [sys.executable, "-W", "error", "-m", "llm_audit.cli"]
SINCE = ("--since", "2026-04-30")
COMMANDS = [
    ("calls", "--limit", "50"),
    ("failures", *SINCE),
    ("tools", *SINCE),
    ("costs", *SINCE, "--by", "user_id"),
    ("latency", *SINCE, "--by", "hour"),
    ("usage", *SINCE, "--until", "2026-05-04"),
    ("retries", *SINCE),
    ("indexes",),
    ("views", "create"),
    ("task", "task 7"),
    ("config",),
    ("doctor",),
    ("spool", "status"),
]


def arguments(mongod: embedded.Mongod, database: Database[Call]) -> list[str]:
    return [*PROGRAM, "--mongo-url", mongod.url, "--database", database.name]


def test_output_in_a_pipe_is_plain_and_narrow(
    database: Database[Call], shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No colours, no line over 80 columns, nothing on stderr."""
    store(database, indexed=True)
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("TERM", "xterm-256color")
    for words in COMMANDS:
        ended = shell(*words)

        assert (ended.code, ended.errors) == (1 if words == ("doctor",) else 0, ""), words
        assert len(ended.lines) >= 1, words
        assert "\x1b" not in ended.output, words
        assert max(map(cell_len, ended.lines)) <= 80, words


@pytest.mark.parametrize("words", [*COMMANDS, ()], ids=lambda words: (words or ["all"])[0])
def test_help_is_narrow_too(words: tuple[str, ...], shell: Shell) -> None:
    """The help of every command fits into 80 columns."""
    ended = shell(*[word for word in words[:2] if re.fullmatch("[a-z]+", word)], "--help")

    assert ended.code == 0
    assert max(map(cell_len, ended.lines)) <= 80


@pytest.mark.parametrize("command", ["indexes", "latency", "export", "spool drain", "views create"])
def test_help_fills_its_lines(command: str, shell: Shell) -> None:
    """A paragraph is broken where the terminal ends, and not where the source is."""
    text = shell(*command.split(), "--help").output.partition("╭")[0]

    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in paragraph.splitlines() if line.strip()]
        for line, after in itertools.pairwise(lines):
            assert len(line) + len(f" {after.split()[0]}") > 80 - 4, paragraph


@pytest.mark.parametrize(
    ("words", "environment", "printed"),
    [
        (
            [],
            {
                "_LLM_AUDIT_COMPLETE": "complete_bash",
                "COMP_WORDS": "llm-audit ind",
                "COMP_CWORD": "1",
            },
            "indexes",
        ),
        (
            ["--show-completion", "bash"],
            {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
            "complete -o default -F _llm_audit_completion llm-audit",
        ),
    ],
    ids=["complete", "show"],
)
def test_completion_ends_well(words: list[str], environment: dict[str, str], printed: str) -> None:
    """Shells learn what may follow, with the exit code 0."""
    done = subprocess.run(
        [*PROGRAM, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == printed


@pytest.mark.parametrize("words", [("calls",), ("calls", "--json"), ("export",)], ids="-".join)
def test_a_closed_pipe_is_quiet(
    words: tuple[str, ...], mongod: embedded.Mongod, made_up: Database[Call]
) -> None:
    """When the reader has had enough, as `head` does, the command ends without a word."""
    calls = made_up["llm_calls"]
    copies = [{"_id": f"{n:06}", "status": "SUCCESS", "model": "m" * 300} for n in range(2000)]
    calls.insert_many(copies)
    limit = [] if words == ("export",) else ["--limit", "3000"]
    # unbuffered, Python drops without a word what is left of a write that was cut off
    environment = {name: os.environ[name] for name in os.environ.keys() - {"PYTHONUNBUFFERED"}}

    with subprocess.Popen(
        [*arguments(mongod, made_up), *words, *limit],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()

    assert (process.returncode, errors) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["calls"], 3, "MongoDB at 127.0.0.1:1 cannot be asked (ServerSelectionTimeoutError): "),
        (["doctor"], 3, "MongoDB at 127.0.0.1:1 cannot be asked"),
        (["import", "-"], 3, "MongoDB at 127.0.0.1:1 cannot be asked"),
        (["calls", "--since", "soon"], 2, "--since 'soon' is no time: it takes 30m, 2h, 7d, "),
        (["calls", "--sinse", "2h"], 2, "No such option: --sinse"),
        (["calls", "--limit", "-1"], 2, "Invalid value for '--limit': "),
        (["cals"], 2, "No such command 'cals'. Did you mean 'calls'?"),
        (["calls", "--status", "fine"], 2, "Invalid value for '--status': 'fine' is not one "),
        (["calls", "--type", ""], 2, "The filter call_type is empty: give it a value"),
        (["costs", "--by", "colour"], 2, "Invalid value for '--by': 'colour' is not one "),
        (["show"], 2, "Missing argument 'ID'."),
        (["calls", "--limit", "9" * 20], 2, "Invalid value for '--limit': "),
        (["calls", "--since", ""], 2, "--since '' is no time: "),
        (["failures", "--until", ""], 2, "--until '' is no time: "),
        (["--database", "x", "demo"], 2, "--database is not for the demo, which "),
        (["--collection", "x", "demo"], 2, "--collection is not for the demo, which "),
        (["show", "x", "--raw", "--json"], 2, "--raw and --json exclude each other."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_one_line(
    words: list[str], code: int, complaint: str, shell: Shell
) -> None:
    """No traceback: what is wrong and the fix, on stderr, with an exit code."""
    ended = shell("--mongo-url", NOWHERE, *words)

    assert (ended.code, ended.output) == (code, "")
    assert ended.errors.startswith(f"llm-audit: {complaint}")
    assert len(ended.errors.splitlines()) == 1


def test_a_process_ends_like_its_command(mongod: embedded.Mongod, made_up: Database[Call]) -> None:
    """As a program, what is right is all on stdout and what is wrong is one line on stderr."""
    right, wrong = (
        subprocess.run(words, capture_output=True, text=True, check=False)
        for words in ([*arguments(mongod, made_up), "costs", *SINCE], [*PROGRAM, "cals"])
    )

    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "llm-audit: No such command 'cals'. Did you mean 'calls'?\n"


@pytest.mark.parametrize("url", ["nonsense", "mongodb://user:s3cret@"])
def test_a_wrong_url_is_one_line_without_its_secrets(url: str, shell: Shell) -> None:
    """What --mongo-url has to look like is said; what it was is not repeated."""
    ended = shell("--mongo-url", url, "calls")

    assert (ended.code, ended.output) == (2, "")
    assert ended.errors.startswith("llm-audit: mongo_url: it is no MongoDB connection string")
    assert "s3cret" not in ended.errors


def test_what_mongodb_refuses_is_one_line(shell: Shell, database: Database[Call]) -> None:
    """MongoDB's name for its reason is given, not its text, which may hold content."""
    broken = [{"$set": {"a": {"$divide": ["$one", 0]}}}]
    database.create_collection("broken", viewOn="llm_calls", pipeline=broken)
    database["llm_calls"].insert_one({"_id": "a", "status": "SUCCESS", "one": 1})

    ended = shell("--collection", "broken", "export")

    assert (ended.code, ended.output) == (1, "")
    assert re.fullmatch(r"llm-audit: MongoDB at \S+ refuses: \w+\.\n", ended.errors)


def test_ctrl_c_is_quiet(mongod: embedded.Mongod, database: Database[Call]) -> None:
    """An export that is interrupted ends with 130 and says nothing."""
    calls = database["llm_calls"]
    calls.insert_many(
        [{"_id": f"{n:06}", "status": "SUCCESS", "model": "m" * 900} for n in range(2000)]
    )
    with subprocess.Popen(
        [*arguments(mongod, database), "export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()  # it waits for us now: the pipe holds less than there is
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, errors) == (130, "")


def test_ctrl_c_at_the_beginning_is_quiet(tmp_path: Path) -> None:
    """While it imports what it needs nothing has begun, so there is nothing to say."""
    (tmp_path / "typer.py").write_text("import signal; signal.raise_signal(signal.SIGINT)")
    done = subprocess.run(
        [*PROGRAM, "config"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_at_the_end_is_quiet(mongod: embedded.Mongod) -> None:
    """When all is printed and only the end of the program is left, nothing is said of it."""
    script = (
        "import atexit, os, signal, sys; from llm_audit.cli import main;"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT);"
        "sys.argv[0] = 'llm-audit'; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--mongo-url", mongod.url, "config"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert f"127.0.0.1:{mongod.port}" in done.stdout


@pytest.mark.parametrize("words", [["config"], ["calls"], ["calls", "--json"]], ids="-".join)
def test_a_closed_stdout_is_no_mistake(
    words: list[str], mongod: embedded.Mongod, made_up: Database[Call]
) -> None:
    """Whoever closes it wants to see nothing."""
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *arguments(mongod, made_up), *words],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("show", "\udcff"), "'\\udcff' in an argument or a setting is no UTF-8."),
        (("calls", "--user", "\udcff"), "user_id holds half a surrogate pair, which no call can."),
    ],
    ids=str,
)
def test_what_is_no_utf8_is_one_line(words: tuple[str, ...], line: str, shell: Shell) -> None:
    """Bytes that are no text cannot be in MongoDB, so they are a mistake in what was typed."""
    ended = shell(*words)

    assert (ended.code, ended.output, ended.errors) == (2, "", f"llm-audit: {line}\n")


def test_a_mistake_of_ours_is_said_to_be_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with a line that asks for a report; what to report stands above it."""
    monkeypatch.setattr(indexes, "collection_of_calls", lambda: {}["nothing"])

    ended = shell("indexes")

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith("Traceback")
    assert "\nllm-audit: KeyError: this is a mistake in llm-audit. " in ended.errors


def test_a_document_without_status_is_shown(shell: Shell, calls: Calls) -> None:
    """Whatever is in the collection can be looked at."""
    calls.insert_one({"_id": "a"})

    codes = {shell(*words).code for words in (["show", "a"], ["calls"], ["calls", "--json"])}

    assert codes == {0}


def test_a_warning_of_the_driver_is_one_line(mongod: embedded.Mongod) -> None:
    """It is shown as all else is, without a path into the driver."""
    done = subprocess.run(
        [sys.executable, "-m", "llm_audit.cli", "--mongo-url", f"{mongod.url}&foo=1", "calls"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stderr.startswith("llm-audit: Unknown option")
    assert len(done.stderr.splitlines()) == 1
