import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agents_left import agent_at, recording_for_agent
from children import child
from dead_processes import SCRIPT
from local_time import local_time
from made_up_calls import Call
from nowhere import NOWHERE
from pymongo.database import Database
from waiting import PATIENCE, Calls

import llm_audit
from llm_audit import LLMLogger, embedded, pipelines
from llm_audit.settings import get_settings
from llm_audit.settings.mongo_url import without_secrets

Shell = Callable[..., Any]


@pytest.fixture
def dead(shell: Shell) -> str:  # noqa: ARG001  (it sets the environment)
    """Leave a journal of a process that was killed before it shipped; return its call's id."""
    # it dies within the second in which a call that runs is not shipped yet
    with child(SCRIPT + "record(1)\ndie()", get_settings()) as process:
        output, _ = process.communicate()
    return str(output.split()[0])


def test_the_doctor_says_that_all_is_well(shell: Shell, database: Database[Call]) -> None:
    """When everything has arrived the exit code is 0."""
    llm_audit.configure()
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]), response_message={"content": "x"})
    assert llm_audit.flush(PATIENCE)
    llm_audit.shutdown()

    ended = shell("doctor")
    [row] = map(json.loads, shell("doctor", "--json").lines)

    assert ended.code == 0, ended.output
    assert "all arrived" in ended.output
    assert ended.lines[-1] == "All is well."
    assert (row["problems"], row["processes"][0]["recorded"]) == ([], 2)
    assert database["llm_calls"].count_documents({}) == 1


def test_the_doctor_fails_where_there_is_something_to_look_at(shell: Shell, calls: Calls) -> None:
    """Each problem is a line with its fix, and the exit code is 1."""
    calls.insert_one({"_id": "a", "status": "SUCCESS"})

    ended = shell("doctor")
    as_json = shell("doctor", "--json")

    assert ended.code == as_json.code == 1
    assert "✗ No process has recorded into this collection" in ended.output
    assert "Indexes are missing" in " ".join(ended.output.split())
    assert len(json.loads(as_json.output)["problems"]) == 2


def test_a_collection_that_is_not_there_is_not_well(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a living process records elsewhere, the name that was given is said to be none."""
    monkeypatch.setenv("LLM_AUDIT_COLLECTION", "elsewhere")
    script = SCRIPT + f"record(1)\nprint(llm_audit.flush({PATIENCE}))\ninput()"
    with child(script, get_settings()) as living:
        assert living.stdout is not None
        assert "FlushResult" in [living.stdout.readline() for _ in range(2)][1]
        ended = shell("--collection", "typo", "doctor")

    assert ended.code == 1
    assert "All is well" not in ended.output
    name = f"{get_settings().database}.typo"
    assert f"✗ There is no collection {name}: nothing has arrived" in " ".join(ended.output.split())


def test_the_doctor_names_commands_and_whole_paths(
    dead: str, shell: Shell, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal's path may be pasted, and its fix is a command."""
    monkeypatch.setenv("COLUMNS", "40")
    calls.insert_one({"_id": dead, "status": "PENDING"})
    [row] = map(json.loads, shell("spool", "status", "--json").lines)

    journals, _, problems = shell("doctor").output.partition("To look at")

    assert f"\n    {row['path']}\n" in journals
    assert row["path"] in problems
    assert "llm-audit spool drain, or llm_audit.recover(60)" in " ".join(problems.split())


def test_times_of_processes_are_local(shell: Shell, database: Database[Call]) -> None:
    """When a process last beat is said as all times are."""
    target = get_settings().collection
    beat_at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    database["llm_audit_processes"].insert_one(
        {"_id": "n", "collection": target, "state": "alive", "beat_at": beat_at, "pid": 1}
    )

    with local_time("Asia/Tokyo"):
        output = shell("doctor").output

    assert "2026-05-01 21:00:00 JST" in " ".join(output.split())


def test_journals_of_the_dead_are_shown_and_shipped(dead: str, shell: Shell, calls: Calls) -> None:
    """`status` shows what waits, `drain` ships it now, and then nothing waits."""
    waiting = shell("spool", "status")
    [row] = map(json.loads, shell("spool", "status", "--json").lines)

    elsewhere = shell("--database", "elsewhere", "spool", "drain")
    drained = shell("spool", "drain")

    assert " ".join(elsewhere.output.split()).endswith(
        "nothing is left for these settings; 1 for others: llm-audit doctor says which."
    )
    assert "waiting" in waiting.output
    assert (row["state"], row["segments"]) == ("waiting", 1)
    assert drained.output == "1 journal of dead processes shipped, nothing is left.\n"
    assert drained.code == 0
    assert calls.find_one({"_id": dead})["status"] == "ABANDONED"  # type: ignore[index]
    assert shell("spool", "status").output.startswith("No journals in")


def test_what_is_not_known_in_time_is_not_said(shell: Shell) -> None:
    """Where the time is over before the spool was looked through, nothing is promised."""
    ended = shell("spool", "drain", "--timeout", 0)

    assert ended.code == 1
    assert " ".join(ended.output.split()) == (
        "0 journals of dead processes shipped; whether something is left is not known: llm-audit "
        "doctor says more."
    )


def test_what_was_refused_is_shown_and_sent_again(shell: Shell, calls: Calls) -> None:
    """`doctor` names the call, `retry` fails as long as MongoDB refuses, then all is well."""
    calls.database.create_collection(calls.name, validator={"model": {"$ne": "m"}})
    llm_audit.configure()
    call_id = LLMLogger.start(model="m", messages=[])
    LLMLogger.complete(call_id, response_message={"content": "x"})
    llm_audit.flush(PATIENCE)
    llm_audit.shutdown()

    examined, again = shell("doctor", "--json"), shell("spool", "retry")
    calls.database.command("collMod", calls.name, validator={})
    fixed = shell("spool", "retry", "--json")

    refused = json.loads(examined.output)["refused"]
    assert (refused["reasons"], refused["call_ids"]) == ({"code 121": 1}, [call_id])
    assert (again.code, again.output.split()[:2]) == (1, ["0", "records"])
    assert fixed.code == 0
    assert json.loads(fixed.output)["refused_again"] == 0
    assert calls.find_one({"_id": call_id})["model"] == "m"  # type: ignore[index]


def test_draining_needs_a_server(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MongoDB `drain` does not wait for its time to be over."""
    ended = shell("--mongo-url", NOWHERE, "spool", "drain")

    assert ended.code == 3
    assert ended.errors.startswith("llm-audit: MongoDB at 127.0.0.1:1 cannot be asked")
    monkeypatch.setenv("LLM_AUDIT_ENABLED", "false")
    assert shell("spool", "drain").code == 2


def test_config_says_where_each_setting_comes_from(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options beat the environment, which beats the defaults."""
    monkeypatch.setenv("LLM_AUDIT_SERVICE", "reviews")

    ended = shell("--database", "other", "config", "--json")

    rows = {row["setting"]: row for row in map(json.loads, ended.lines)}
    assert rows["database"] == {"setting": "database", "value": "other", "source": "--database"}
    assert (rows["service"]["value"], rows["service"]["source"]) == ("reviews", "LLM_AUDIT_SERVICE")
    assert (rows["strict"]["value"], rows["strict"]["source"]) == (False, "default")
    assert get_settings().database == "other"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://h/?tls=true;tlsCertificateKeyFilePassword=s3cret", "tls=true;tls"),
        ("mongodb://h/?w=1;authMechanismProperties=AWS_SESSION_TOKEN:s3cret", "?w=1;auth"),
        ("mongodb://h/?aLaterOption=s3cret&retryWrites=false", "aLaterOption=***&retryWrites=f"),
        ("mongodb://u:pa?s3cret", "***"),
        ("mongodb://u:pa/s3cret@h", "***"),
        ("mongodb://u:s3cret@h,i/db?w=1", "mongodb://u:***@h,i/db?w=1"),
    ],
)
def test_config_shows_only_options_without_secrets(url: str, shown: str) -> None:
    """An option that nobody knows is hidden too, whatever separates options."""
    hidden = without_secrets(url)

    assert "s3cret" not in hidden
    assert shown in hidden


@pytest.mark.parametrize("words", [["config"], ["config", "--json"]])
def test_config_hides_secrets(words: list[str], shell: Shell) -> None:
    """Neither a password nor a token is printed, the rest of the URL is."""
    url = "mongodb://user:s3cret@h1,h2/?tlsCertificateKeyFilePassword=s3cret&replicaSet=r"

    ended = shell("--mongo-url", url, *words)

    assert ended.code == 0
    assert "s3cret" not in ended.output
    assert "user:***@h1,h2" in ended.output


def test_a_wrong_setting_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the variable."""
    monkeypatch.setenv("LLM_AUDIT_BATCH_SIZE", "many")

    ended = shell("config")

    assert (ended.code, ended.output) == (2, "")
    assert "LLM_AUDIT_BATCH_SIZE" in ended.errors
    assert len(ended.errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        ("tool-usage --company 1", pipelines.tool_usage(company_id="1")),
        ("tool_usage", pipelines.tool_usage()),
        ("cost-summary day --model gpt-4", pipelines.cost_summary("day", model="gpt-4")),
        ("calls-by-trace t-1", pipelines.calls_by_trace("t-1")),
        ("error-messages abc def", pipelines.error_messages(["abc", "def"])),
        (
            "search hello 20 --since 2026-05-01T00:00Z",
            pipelines.search("hello", limit=20, start_date=datetime(2026, 5, 1, tzinfo=UTC)),
        ),
        ("cost-summary day UTC", pipelines.cost_summary("day", timezone="UTC")),
    ],
    ids=["filter", "underscore", "argument", "no filters", "several", "number", "two"],
)
def test_a_pipeline_is_printed_as_it_is(words: str, stages: list[Call], shell: Shell) -> None:
    """As JSON, and ready for mongosh; MongoDB is not needed."""
    as_json = shell("--mongo-url", NOWHERE, "pipeline", *words.split())
    for_mongosh = shell("pipeline", *words.split(), "--mongosh").output

    assert json.loads(as_json.output) == stages
    assert for_mongosh == f'db.getCollection("llm_calls").aggregate({json.dumps(stages)})\n'


def test_mongosh_gets_a_collection_of_any_name(shell: Shell) -> None:
    """A name that cannot stand after a dot is quoted."""
    output = shell("--collection", "my-calls", "pipeline", "tool-usage", "--mongosh").output

    assert output.startswith('db.getCollection("my-calls").aggregate([')


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("none", "There is no pipeline 'none': "),
        ("calls-by-trace", "calls-by-trace takes trace_id, not 0 arguments."),
        ("tool-usage a", "tool-usage takes no arguments, not 1 argument."),
        ("calls-by-trace a --model m", "calls-by-trace takes no filters."),
        ("search a many", "limit has to be a whole number, not 'many'."),
        ("error-messages", "error-messages takes call_ids, not 0 arguments."),
        ("cost-summary colour", "group_by 'colour' is not one of model, "),
    ],
    ids=["name", "too few", "too many", "filters", "number", "none of several", "value"],
)
def test_a_pipeline_that_is_not_there_names_those_that_are(
    words: str, complaint: str, shell: Shell
) -> None:
    """Each mistake is one line that says what there is."""
    ended = shell("pipeline", *words.split())

    assert ended.code == 2
    assert ended.errors.startswith(f"llm-audit: {complaint}")


def test_the_spool_may_be_missing(shell: Shell, tmp_path: Path, mongod: embedded.Mongod) -> None:
    """A machine on which nothing was recorded has nothing to show, and that is no error."""
    ended = shell("--mongo-url", mongod.url, "spool", "status")

    assert (ended.code, ended.errors) == (0, "")
    assert str(tmp_path)[:30] in ended.output


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have another user's spool")
def test_root_ships_no_spool_of_others(shell: Shell, dead: str, calls: Calls) -> None:
    """What lies there somebody may have planted for root: the command that ships it is named."""
    spool_dir = get_settings().spool_dir
    for path in (spool_dir, *spool_dir.rglob("*")):
        os.chown(path, 65534, 65534)

    ended = shell("spool", "drain")
    state = shell("spool", "status")

    assert ended.code != 0
    said = " ".join(ended.errors.split())
    assert "belongs to user nobody, not to user root" in said
    assert "sudo -u nobody llm-audit spool drain" in said
    assert "left alone" in " ".join(state.output.split())
    assert calls.count_documents({"_id": dead}) == 0


def test_what_waits_for_an_agent_is_shown_with_what_to_start(shell: Shell, calls: Calls) -> None:
    """`spool status` says it without MongoDB, the doctor with it; an agent is shown as it is."""
    with recording_for_agent(get_settings(), service="web"):
        missing, [row] = shell("spool", "status"), shell("spool", "status", "--json").lines
        examined = shell("doctor")
        with agent_at(get_settings(), unavailable="bad auth"):
            away, rows = shell("spool", "status"), shell("spool", "status", "--json").lines

    assert (json.loads(row)["state"], json.loads(row)["service"]) == ("no agent", "web")
    for ended in (missing, examined):
        said = " ".join(ended.output.split())
        assert "✗ No agent ships the calls of 1 living process on this machine" in said
        assert "Start llm-audit agent here" in said
    assert calls.count_documents({}) == 0
    assert [json.loads(row)["state"] for row in rows] == ["in use", "alive"]
    said = " ".join(away.output.split())
    assert "2 processes, 2.0 KiB to ship, MongoDB is away to 127.0.0.1:1, database" in said
    assert "cannot reach MongoDB (bad auth)" in said
