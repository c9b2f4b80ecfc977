"""The demo, as a user runs it: what it prints, and that it leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pymongo
import pytest
from patience import LONG
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


def answers(printed: str) -> dict[str, list[str]]:
    """Return what each command of the command line has answered, by its name."""
    found: dict[str, list[str]] = {}
    for part in printed.split("\n$ llm-audit ")[1:]:
        command, _, answer = part.partition("\n")
        found.setdefault(command.partition(" ")[0], []).append(answer)
    return found


def test_the_demo_shows_every_scene_and_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """It shows in 80 columns what became of each call; kept, its URLs lead to them; it cleans up.

    Without `--keep` it does the same, and ends itself where Ctrl-C ends it here.
    """
    demo = start_demo(tmp_path, "demo", "--keep", module="llm_audit.cli")
    printed = read_until(demo, "Everything stays up until Ctrl-C")
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed
    assert_every_scene(printed)

    assert_all_stays_up(read_until(demo, "What is older than this demo is made up"))
    demo.send_signal(signal.SIGINT)
    _, complaints = demo.communicate(timeout=PATIENCE)

    assert (demo.returncode, complaints) == (0, "")
    assert_nothing_is_left(tmp_path)


def assert_every_scene(printed: str) -> None:
    shown = answers(printed)

    assert len(set(re.findall(rf"\$ llm-audit trace ({UUID})", printed))) == 4
    rag, tool, chain, chord = shown["trace"]
    for agent in (rag, tool):
        asked, tool_run, answered = (
            "├ RAG_QUERY gpt.*",
            "├ TOOL_EXECUTION .*",
            "└ RAG_SYNTHESIS gpt-4 .*",
        )
        steps = rf"\* AGENT .*\n\* {asked}\n\* {tool_run}\n\* {answered} \$0\."
        assert re.search(steps, agent)
    [session] = shown["session"]
    assert session.count("── ") == 6  # two in the rule of each turn, before its number and id
    assert "**Reports.** They are missed most" in session
    assert "2 calls; " in chain
    assert "7 calls, 1 failed; " in chord
    assert re.search(
        r"SUMMARIZATION gpt-4 .* \$0.*\n\* ERROR SUMMARIZATION gpt-4 .* - +-\n"
        r"\* SUMMARIZATION gpt-4 .* \$0.*\n\* SUMMARIZATION gpt-4o-mini .* \$0",
        chord,
    )
    for tasks, count in ((chain, 2), (chord, 3)):
        assert (
            len(re.findall(r"SENTIMENT_ANALYSIS gpt-3\.5.* \$0\.0000\d+$", tasks, re.MULTILINE))
            == count
        )

    statuses = [
        re.findall(r"^[\d:]{8} +\S{18} (\w+)", task, re.MULTILINE) for task in shown["task"]
    ]
    assert statuses == [["ERROR", "ERROR"], ["PENDING"], ["ABANDONED"]]
    failing, waiting, killed = shown["task"]
    assert re.findall(r"^attempt (\d)  demo@localhost, pid \d+$", failing, re.MULTILINE) == [
        "1",
        "2",
    ]
    pid = re.search(r"Its process (\d+) gets SIGKILL", waiting)
    assert pid is not None
    assert f"attempt 1  demo@localhost, pid {pid[1]}\n" in waiting
    assert f"attempt 1  demo@localhost, pid {pid[1]}\n" in killed

    [failures] = shown["failures"]
    assert "4 of 23 calls failed" in failures
    assert re.search(r" 2 +66\.7 % ERROR +requests +response ", failures)
    assert re.search(r" 1 +33\.3 % ERROR +requests +response .*write_report ", failures)
    assert re.search(r" 1 +33\.3 % ABANDONED +WorkerLost.* worker_lost ", failures)
    assert re.search(r"get_competitor_data +1 █+ +1 +0\.0 % \$0\.00[1-9]", shown["tools"][0])
    assert re.search(r"write_report +1 +1 +2 +\d+ \$0\.00[1-9]", shown["retries"][0])
    costs = re.findall(r"^(\S+) +(\d) +\d+ +0 +\$0\.\d*[1-9]", shown["costs"][0], re.MULTILINE)
    assert costs == [("gpt-4", "9"), ("gpt-3.5-turbo", "6"), ("gpt-4o-mini", "4")]
    latencies = re.findall(r"^(\S+) +(\d)(?: +[\d.]+ m?s){4} ", shown["latency"][0], re.MULTILINE)
    assert {("gpt-3.5-turbo", "6"), ("gpt-4", "8"), ("search_reviews", "1")} <= {*latencies}
    assert "celery_hooks.install(app)" in printed
    assert "llm_audit.instrument()" in printed


def assert_all_stays_up(printed: str) -> None:
    """Follow the URLs that the demo has printed, as a client of MongoDB and as a browser."""
    exports = dict(re.findall(r"export (\w+)='?([^\s']+)", printed))
    with pymongo.MongoClient(exports["LLM_AUDIT_MONGO_URL"]) as client:
        calls = client[exports["LLM_AUDIT_DATABASE"]]["llm_calls"]
        assert (
            calls.count_documents({"status": {"$ne": "PENDING"}, "tags": {"$ne": "made-up"}}) == 23
        )
        assert calls.count_documents({"tags": "made-up"}) > 300
    [address] = re.findall(r"http://127\.0\.0\.1:\d+/\?token=\S+", printed)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
    )
    assert "<h1>Overview</h1>" in opener.open(address).read().decode()
    page = opener.open(f"{address.partition('?')[0]}delivery?format=json").read().decode()
    assert len(json.loads(page)["diagnosis"]["processes"]) == 4


@pytest.mark.parametrize(
    ("number", "line"),
    [
        *([(signal.SIGINT, "The worker is ready")] if LONG else []),
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
    assert "failures" not in answers(printed)
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
