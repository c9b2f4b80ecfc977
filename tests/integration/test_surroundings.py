"""Environments in which nobody would want to run: the audited code does not notice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import warm
from nowhere import NOWHERE
from patience import PATIENCE

from llm_audit.settings import Settings

# Runs one part of an app in a forked child for each surrounding, all at once, and prints what
# became of each.
RUN = """
import io, json, logging, os, pwd, resource, socket, sys, tempfile, threading, traceback
import llm_audit
from llm_audit import LLMLogger, audit_context, lifecycle, log_chat, log_rag_synthesis

spool, *cases = json.load(sys.stdin)
log = io.StringIO()
logging.basicConfig(stream=log, format="%(levelname)s %(message)s", level=logging.WARNING)


def fail(*_, **__):
    raise KeyError("there is none")


def no_passwd():
    pwd.getpwuid = pwd.getpwnam = fail


def gone():
    os.chdir(tempfile.mkdtemp(dir=spool))
    os.rmdir(os.getcwd())


def no_more_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def no_threads():
    def refuse(_):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = refuse


def no_stderr():
    sys.stderr = None


def bad_filter():
    logging.getLogger("llm_audit").addFilter(fail)


def app():
    with audit_context(user_id=7, tags=["t"]):
        with LLMLogger.log_call(model="m", messages=[]) as call_id:
            answer = "answer"
            LLMLogger.complete(call_id, response_message={"content": answer})
    started = LLMLogger.start(model="m", messages=[], temperature="hot")
    LLMLogger.fail(started, ValueError("no"))
    LLMLogger.complete(log_chat([], "m"))
    LLMLogger.fail(log_rag_synthesis("q", ["a"], "m"), "no", status="NONSENSE")
    LLMLogger.complete("made elsewhere")

    async def task():
        async with LLMLogger.log_call(model="m", messages=[]) as call_id:
            await LLMLogger.complete(call_id)
        return call_id.wait(0)

    try:
        task().send(None)  # an event loop would need files
    except StopIteration:
        pass
    llm_audit.recover()
    llm_audit.stats()
    llm_audit.flush(0)
    LLMLogger.start(model="left open", messages=[])
    LLMLogger.end_open_calls(None)
    LLMLogger.start(model="left open again", messages=[])
    llm_audit.shutdown(0)
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    return answer


results = []
for case in cases:
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        results.append((case, reader, child))
        continue
    os.dup2(writer, 2)  # what the end of the interpreter complains of is said there, too
    for name, value in case["environment"].items():
        os.environ[name] = value or ""
        if value is None:
            del os.environ[name]
    for name in case.get("broken", ()):
        globals()[name]()
    try:
        said = app()
    except BaseException:
        said = traceback.format_exc()
    os.write(writer, f"{said}\\n{log.getvalue()}".encode(errors="replace"))
    sys.exit()
for case, reader, child in results:
    with open(reader) as result:
        said = result.read()
    _, status = os.waitpid(child, 0)
    print(json.dumps([case, said, status]), flush=True)
"""


def became_of(cases: list[dict[str, Any]], folder: Path) -> list[tuple[dict[str, Any], str, int]]:
    """Run the app in each surrounding, and return what it and its log said, and its status."""
    environment = {name: value for name, value in os.environ.items() if "LLM_AUDIT" not in name}
    environment |= {
        "LLM_AUDIT_MONGO_URL": NOWHERE,
        "LLM_AUDIT_SPOOL_DIR": str(folder / "spool"),
        "LLM_AUDIT_EXIT_TIMEOUT_SECONDS": "0",
        "HOME": str(folder),
        "XDG_STATE_HOME": "",
        "PYTHONPATH": "",
    }
    results: dict[int, Any] = {}
    for broken in (False, True):
        alike = {n: case for n, case in enumerate(cases) if bool(case.get("broken")) is broken}
        if not alike:
            continue
        # What is broken may break imports; variables do not, which are read later.
        start = subprocess.Popen if broken else warm.start
        process = start(
            [sys.executable, "-c", RUN],
            env=environment,
            cwd=folder,  # where a relative spool lands
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        asked = json.dumps([str(folder), *alike.values()])
        answered, complaints = process.communicate(asked, timeout=4 * PATIENCE)
        lines = answered.splitlines()
        assert len(lines) == len(alike), complaints
        results |= zip(alike, map(json.loads, lines), strict=True)
    return [tuple(results[n]) for n in range(len(cases))]


NO_HOME: dict[str, Any] = {"HOME": None, "LLM_AUDIT_SPOOL_DIR": ""}
SURROUNDINGS: list[tuple[dict[str, Any], list[str], str]] = [
    # what is set, what is broken, and what the log says
    (NO_HOME, ["no_passwd"], "LLM_AUDIT_SPOOL_DIR: there is no home folder for ~"),
    (NO_HOME, ["no_passwd", "gone"], "LLM_AUDIT_SPOOL_DIR: there is no home folder for ~"),
    ({"LLM_AUDIT_SPOOL_DIR": "~nobody-there/x"}, [], "there is no home folder for ~nobody-there/x"),
    (NO_HOME | {"LLM_AUDIT_SPOOL_DIR": "~/x"}, ["no_passwd"], "there is no home folder for ~/x"),
    ({"LLM_AUDIT_SPOOL_DIR": "x"}, ["gone"], "x is relative to a folder that is gone"),
    ({"LLM_AUDIT_SPOOL_DIR": "", "HOME": "/dev/null"}, [], "cannot be written (Not a directory)"),
    ({"LLM_AUDIT_SPOOL_DIR": "/proc/nowhere"}, [], "cannot be written (No such file"),
    (
        {"LLM_AUDIT_SPOOL_DIR": "/tmp/" + "x" * 5000},
        [],
        "LLM_AUDIT_SPOOL_DIR: the path is too long",
    ),
    ({"LLM_AUDIT_SPOOL_DIR": "/proc/self/fd/9/x"}, [], "cannot be written"),
    ({"LLM_AUDIT_MONGO_URL": "nonsense"}, [], "LLM_AUDIT_MONGO_URL: it is no MongoDB connection"),
    ({"LLM_AUDIT_DATABASE": "a b.c/$d"}, [], ""),
    ({"LLM_AUDIT_SERVICE": "\udcff", "LLM_AUDIT_ENVIRONMENT": "\x01\n"}, [], "LLM_AUDIT_SERVICE: "),
    ({"LLM_AUDIT_STRICT": "maybe"}, [], "LLM_AUDIT_STRICT: "),
    ({"LLM_AUDIT_REDACT": "rule"}, [], "LLM_AUDIT_REDACT: "),
    ({"LLM_AUDIT_SPOOL": "x"}, [], "Did you mean LLM_AUDIT_SPOOL_DIR?"),
    ({"TMPDIR": "/nowhere", "LANG": "nonsense", "TZ": "Nowhere/None"}, [], ""),
    ({}, ["gone"], ""),
    ({}, ["no_more_files"], "Too many open files"),
    ({}, ["no_threads"], "start new thread"),
    ({}, ["no_stderr"], ""),
    ({}, ["bad_filter"], "KeyError"),
]


def test_the_audited_code_goes_on(tmp_path: Path) -> None:
    """Nothing raises, whether recording is on or off, and what is wrong is said once."""
    cases = [{"environment": set_, "broken": broken} for set_, broken, _ in SURROUNDINGS]
    results = became_of(cases, tmp_path)
    for (case, said, status), (_, _, wrong) in zip(results, SURROUNDINGS, strict=True):
        assert "answer" in said.splitlines(), (case, said)
        assert status == 0, (case, said, status)
        assert wrong in said, (case, said)
        lines = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR"))]
        assert len(lines) == len(set(lines)), (case, said)

    off = {"LLM_AUDIT_ENABLED": "false"}
    cases = [{**case, "environment": case["environment"] | off} for case in cases[:5]]
    for case, said, status in became_of(cases, tmp_path):
        assert (said.partition("\n")[0], status) == ("answer", 0), (case, said)
        assert "spool_dir" not in said, (case, said)  # nothing is written


def test_no_value_of_a_variable_raises(tmp_path: Path) -> None:
    """Whatever they hold, the app goes on."""
    odd = ["\udcff", "\x01[", "{}", "null", "nan", "-1", "1e999", "9" * 5000, "é" * 300, " "]
    names = [f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields if name != "strict"]
    cases = [{"environment": dict.fromkeys(names, value)} for value in odd]
    for case, said, status in became_of(cases, tmp_path):
        assert "answer" in said.splitlines(), (case, said)
        assert status == 0, (case, said, status)


def test_strict_mode_raises_one_clear_error(tmp_path: Path) -> None:
    """Where mistakes are to be raised, the first call names the variable; the exit is quiet."""
    wrong = [set_ | {"LLM_AUDIT_STRICT": "1"} for set_, *_ in SURROUNDINGS[:5]]
    cases = [
        {"environment": each, "broken": broken}
        for each, (_, broken, _) in zip(wrong, SURROUNDINGS, strict=False)
    ]
    cases.append({"environment": {"LLM_AUDIT_STRICT": "1", "LLM_AUDIT_BATCH_SIZE": "many"}})
    for case, said, status in became_of(cases, tmp_path):
        *_, error = said.strip().splitlines()
        assert error.startswith("llm_audit.errors.ConfigurationError: LLM_AUDIT_"), (case, said)
        assert said.count("Traceback") == 1, (case, said)
        assert status == 0, (case, said, status)


@pytest.mark.parametrize("name", ["HOME", "all"])
def test_importing_needs_no_environment(name: str, tmp_path: Path) -> None:
    """Without the one that nearly everyone has, or without any, a program still records."""
    environment = {each: value for each, value in os.environ.items() if name not in {each, "all"}}
    environment |= {"LLM_AUDIT_SPOOL_DIR": str(tmp_path), "LLM_AUDIT_EXIT_TIMEOUT_SECONDS": "0"}
    code = "from llm_audit import LLMLogger as l; l.complete(l.start(model='m', messages=[]))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.bson"))
