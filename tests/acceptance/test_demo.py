"""The demo, as a user runs it: what it prints, and that it leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pymongo
import pytest
from waiting import PATIENCE

pytest.importorskip("openai")
pytest.importorskip("rich")

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def start_demo(
    folder: Path, *command: str, module: str = "llm_audit.demo", **environment: str
) -> subprocess.Popen[str]:
    """Start the demo with a temporary folder of its own, by which its processes are known."""
    mine = {name: value for name, value in os.environ.items() if name not in {"KEEP", "NO_COLOR"}}
    settings = {"TMPDIR": str(folder), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", module, *command],
        env={**mine, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def read_until(demo: subprocess.Popen[str], text: str) -> str:
    """Read what the demo prints up to the line that contains a text."""
    assert demo.stdout is not None
    printed = ""
    for line in demo.stdout:
        printed += line
        if text in line:
            return printed
    assert demo.stderr is not None
    pytest.fail(f"no line with {text!r} in:\n{printed}\n{demo.stderr.read()}")


def processes_of(folder: Path) -> list[str]:
    """Name the living processes whose environment names the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has just ended, or is not ours to look at
    return found


def assert_nothing_is_left(folder: Path) -> None:
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


def section(printed: str, title: str) -> str:
    """Return the part of the report under a title."""
    return printed.partition(f"\n{title}  ")[2].partition("\n\n")[0]


def test_the_demo_shows_every_scene(tmp_path: Path) -> None:
    """The demo ends well, prints what became of each call in 80 columns, and cleans up."""
    demo = start_demo(tmp_path)
    printed, complaints = demo.communicate(timeout=PATIENCE)

    assert (demo.returncode, complaints) == (0, "")
    assert_nothing_is_left(tmp_path)
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed

    traces = section(printed, "Calls by trace")
    assert len(set(re.findall(UUID, traces))) == 6
    assert (
        len(re.findall(r"RAG_QUERY +SUCCESS .*\n  └─ RAG_SYNTHESIS +SUCCESS +gpt-4", traces)) == 2
    )
    assert len(re.findall(r"SENTIMENT_ANALYSIS +SUCCESS +gpt-3\.5-turbo +\d+ \$", traces)) == 5

    rows = re.findall(rf"({UUID}) +(\d) +(\d+) (\w+) +(\w+)", section(printed, "Calls by task"))
    ends = [(attempt, status, end) for _, attempt, _, status, end in rows]
    assert sorted(ends) == [
        ("1", "ABANDONED", "worker_lost"),
        ("1", "ERROR", "exception"),
        ("1", "SUCCESS", "negative"),
        ("1", "SUCCESS", "negative"),
        ("1", "SUCCESS", "neutral"),
        ("1", "SUCCESS", "positive"),
        ("1", "SUCCESS", "positive"),
        ("2", "ERROR", "exception"),
    ]
    assert len({task_id for task_id, *_ in rows}) == 7
    killed = re.search(r"its child (\d+) gets SIGKILL", printed)
    assert killed is not None
    assert [pid for _, _, pid, status, _ in rows if status == "ABANDONED"] == [killed[1]]

    failures = section(printed, "Failures and their causes")
    assert "3 of 12 calls failed." in failures
    assert re.search(r"2 ERROR +exception +RateLimitError: .*429", failures)
    assert re.search(r"1 ABANDONED +worker_lost +WorkerLost(Error)?: ", failures)
    assert re.search(r"get_competitor_data +1 +1 +0 +\$0\.00[1-9]", section(printed, "Tool usage"))

    models = section(printed, "Cost and latency per model")
    assert re.findall(
        r"^(\S+) +6 +\d+ +\$0\.\d*[1-9]\d* +\d+ ms +\d+ ms", models, re.MULTILINE
    ) == [
        "gpt-4",
        "gpt-3.5-turbo",
    ]
    assert "celery_hooks.install(app)" in printed
    assert "LLMLogger.start(" in printed


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGINT, "The worker is ready"),
        (signal.SIGTERM, "Done: Task that fails"),  # next comes the call that is never answered
    ],
)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, line: str) -> None:
    """Interrupted at any point, and again while it cleans up, the demo ends as the first says."""
    demo = start_demo(tmp_path)
    read_until(demo, line)
    assert any("celery" in command for command in processes_of(tmp_path))
    demo.send_signal(number)
    # Of two signals that wait, the kernel delivers the one with the lower number first.
    printed = read_until(demo, "Stopping the worker and the servers.")
    demo.send_signal(signal.SIGINT)
    rest, complaints = demo.communicate(timeout=PATIENCE)

    assert (demo.returncode, complaints, rest) == (128 + number, "", "")
    assert "Calls by trace" not in printed
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("module", "command", "environment"),
    [("llm_audit.demo", (), {"KEEP": "1"}), ("llm_audit.cli", ("demo", "--keep"), {})],
    ids=["module", "command line"],
)
def test_keep_leaves_the_servers_up_until_ctrl_c(
    module: str, command: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """Kept, the printed URL leads to the calls, until Ctrl-C ends everything."""
    demo = start_demo(tmp_path, *command, module=module, **environment)
    printed = read_until(demo, "LLM_AUDIT_DATABASE=")
    exports = dict(re.findall(r"export (\w+)=(\S+)", printed))
    with pymongo.MongoClient(exports["LLM_AUDIT_MONGO_URL"]) as client:
        calls = client[exports["LLM_AUDIT_DATABASE"]]["llm_calls"]
        assert calls.count_documents({"status": {"$ne": "PENDING"}}) == 12
    demo.send_signal(signal.SIGINT)
    _, complaints = demo.communicate(timeout=PATIENCE)

    assert (demo.returncode, complaints) == (0, "")
    assert_nothing_is_left(tmp_path)


def test_missing_extras_are_named() -> None:
    """Without an extra, one line says what to install."""
    script = (
        "import runpy, sys; sys.modules['celery'] = None; "
        "runpy.run_module('llm_audit.demo', run_name='__main__')"
    )
    demo = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert demo.returncode == 1
    assert demo.stderr == (
        "The demo needs celery: pip install 'llm-audit[celery,cli,embedded,openai]'\n"
    )
