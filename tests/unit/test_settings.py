"""Settings: where they come from, and what a wrong one does."""

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Le
from pydantic import MongoDsn

import llm_audit
from llm_audit import ConfigurationError, LLMLogger, configure
from llm_audit.errors import forget_logged
from llm_audit.recorder import process
from llm_audit.settings import Settings, changed_settings, get_settings, reset_settings
from llm_audit.settings.mongo_url import meaning_of
from llm_audit.testing import RecordedCalls


def test_arguments_beat_the_environment_which_beats_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of argument, environment variable and default, the first that is given counts."""
    monkeypatch.setenv("LLM_AUDIT_DATABASE", "from_environment")
    monkeypatch.setenv("LLM_AUDIT_SERVICE", "from_environment")
    configure(database="from_argument")
    settings = get_settings()

    assert settings.database == "from_argument"
    assert settings.service == "from_environment"
    assert settings.collection == "llm_calls"


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without configure(), the settings come from the environment at first use."""
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_AUDIT_ENABLED", "false")
    monkeypatch.setenv("llm_audit_Write_Concern", "1")
    settings = get_settings()

    assert settings.spool_dir == tmp_path
    assert settings.enabled is False
    assert settings.write_concern == 1
    assert get_settings() is settings


def test_an_empty_variable_counts_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LLM_AUDIT_SERVICE=` in a deployment file is no service named ''."""
    monkeypatch.setenv("LLM_AUDIT_SERVICE", "")
    assert get_settings().service is None


def test_a_bad_variable_falls_back_with_one_log_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A variable that cannot be read is named once in the log; the others still count."""
    monkeypatch.setenv("LLM_AUDIT_BATCH_SIZE", "hunter2")
    monkeypatch.setenv("LLM_AUDIT_SERVICE", "billing")
    settings = get_settings()

    assert settings.batch_size == Settings.model_fields["batch_size"].default
    assert settings.service == "billing"
    (line,) = caplog.messages
    assert "LLM_AUDIT_BATCH_SIZE" in line
    assert "hunter2" not in line


def test_an_unknown_name_is_refused() -> None:
    """configure() names an argument that is no setting, and the one that may be meant."""
    with pytest.raises(ConfigurationError, match=r"mongo_uri: no such setting.*mongo_url\?"):
        configure(mongo_uri="mongodb://127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("spool_dir", 5),
        ("redact", "rule"),
        ("retention_days", -1),
        ("retention_days", 10**9),
        ("write_concern", 0),
        ("segment_max_bytes", "big"),
        ("exit_timeout_seconds", float("inf")),
        ("lease_seconds", float("nan")),
        ("acknowledged_timeout_seconds", 1e10),
        ("spool_dir", "a\0b"),
        ("database", "\udcff"),
        ("service", "\udcff"),
        ("mongo_url", "mongodb://\udcff"),
        ("spool_dir", "~nobody-there/x"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object) -> None:
    """configure() names the setting whose value cannot be."""
    with pytest.raises(ConfigurationError, match=rf"^{name}: .*llm_audit.configure\(\)"):
        configure(**{name: value})


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:27017", "http://localhost", "mongodb://", "", "mongodb://host:port"),
        *("mongodb://user:secret@/db", "mongodb://user:secret/@host", "mongodb://[::1"),
        *("mongodb://user:secret@?@host", "mongodb://user:@secret@host", "mongodb://a,,b"),
    ],
)
def test_a_broken_url_is_refused(url: str) -> None:
    """A mongo_url that cannot be one is refused, without repeating it."""
    with pytest.raises(ConfigurationError, match="mongo_url") as caught:
        configure(mongo_url=url)
    assert "secret" not in str(caught.value)


def test_a_broken_url_in_the_environment_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Outside strict mode it is in force all the same: calls go to no other database instead."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "localhost:27017")
    for _ in range(2):
        configure(service="billing")

    assert get_settings().mongo_url.get_secret_value() == "localhost:27017"
    (line,) = caplog.messages
    assert "LLM_AUDIT_MONGO_URL" in line


def test_a_broken_url_in_the_environment_is_an_error_in_strict_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken LLM_AUDIT_MONGO_URL is reported at each use, not only at the first."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "localhost")
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="LLM_AUDIT_MONGO_URL"):
            get_settings()


def test_the_target_knows_no_credentials() -> None:
    """The same collection has one target whatever user asks, in whatever order hosts stand."""
    urls = [
        "mongodb://one:secret@a:27017,b:27017/?replicaSet=rs",
        "mongodb://two:other@B:27017,A:27017/admin",
        "mongodb://b:27017,a:27017",
    ]
    targets = {Settings(mongo_url=url).target() for url in urls}

    assert len(targets) == 1
    assert targets.pop().isalnum()


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("mongodb://localhost", "localhost"),
        ("mongodb://b:2,a:1/db?replicaSet=rs", "a:1,b:2"),
        ("mongodb://u:p%40ss@Host:27017/?appName=x@y", "host:27017"),
        ("mongodb+srv://u:p@cluster.example.net/?w=1", "cluster.example.net"),
        ("mongodb://u@[::1]:27017,%2Ftmp%2Fmongodb.sock", "%2ftmp%2fmongodb.sock,[::1]:27017"),
        *(("mongodb://u:pass/word@host", ""), ("mongodb://u:12/word@host/db", "")),
        *(("mongodb://u:12?w=ord@host", ""), ("mongodb://host/?tls=true", "host")),
    ],
)
def test_the_hosts_know_no_credentials(url: str, hosts: str) -> None:
    """The hosts of a URL may be logged: nothing else of it is in them."""
    assert Settings(mongo_url=url).hosts() == hosts


@pytest.mark.parametrize(
    "other",
    [{"mongo_url": "mongodb://b"}, {"database": "other"}, {"collection": "other"}],
    ids=lambda other: next(iter(other)),
)
def test_another_collection_is_another_target(other: dict[str, str]) -> None:
    """Host, database and collection each make another target."""
    usual = {"mongo_url": "mongodb://a"}
    assert Settings(**usual | other).target() != Settings(**usual).target()


@pytest.mark.parametrize("url", ["mongodb://[::1", "mongodb://u:pass/word@host", "nonsense"])
def test_every_url_has_a_target(url: str) -> None:
    """Even a broken mongo_url has a folder in the spool, where calls wait for a better one."""
    assert Settings(mongo_url=url).target()


def test_settings_change_nothing_when_refused() -> None:
    """After a refused configure() the earlier settings are still in force."""
    configure(service="kept")
    before = get_settings()
    with pytest.raises(ConfigurationError):
        configure(batch_size=-1)
    assert get_settings() is before


def numbers() -> list[str]:
    """Name the settings that a number may be given for."""
    return [
        name
        for name, field in Settings.model_fields.items()
        if re.search(r"\b(int|float)\b", str(field.annotation))
    ]


def test_every_number_has_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What no machine can count, or is below zero, is a wrong variable and a wrong argument."""
    assert len(numbers()) == 12
    for name in numbers():
        variable = f"LLM_AUDIT_{name.upper()}"
        for wrong in ("9" * 20, "9" * 400, f"-{'9' * 400}", "-1", "-0.5"):
            reset_settings()
            forget_logged()
            monkeypatch.setenv(variable, wrong)
            assert getattr(get_settings(), name) == Settings.model_fields[name].default
            assert caplog.messages.pop().startswith(f"{variable}: ")
            with pytest.raises(ConfigurationError, match=f"^{name}: "):
                configure(**{name: wrong})
        monkeypatch.delenv(variable)


def test_the_largest_numbers_do_not_stop_recording(tmp_path: Path) -> None:
    """What is taken can also be worked with."""
    largest = {
        name: bound.le
        for name in numbers()
        for bound in Settings.model_fields[name].metadata
        if isinstance(bound, Le)
    }
    assert largest.keys() == {*numbers()} - {"write_concern"}
    configure(spool_dir=tmp_path, strict=True, write_concern=50, **largest)
    LLMLogger.complete(LLMLogger.start(model="m", messages=[]))
    assert list(tmp_path.rglob("*.bson"))
    llm_audit.shutdown(0)


def test_refused_changes_leave_no_trace() -> None:
    """A wrong value for a block is refused, and what comes after it goes on."""
    before = get_settings()
    for wrong in ({"mongo_url": "nonsense"}, {"batch_size": -1}, {"nonsense": 1}):
        with pytest.raises(ConfigurationError), changed_settings(**wrong):
            pass
    assert get_settings() is before
    configure(service="billing")
    assert get_settings().service == "billing"


def test_a_wrong_argument_counts_more_than_a_wrong_variable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """configure() raises for what it was given; a wrong variable is its log line, as ever."""
    monkeypatch.setenv("LLM_AUDIT_BATCH_SIZE", "many")
    configure(service="billing")
    assert get_settings().batch_size == 500
    configure(batch_size=7)  # then the variable does not count
    assert get_settings().batch_size == 7
    with pytest.raises(ConfigurationError, match=r"^segment_max_bytes: "):
        configure(segment_max_bytes="many")
    assert len(caplog.messages) == 1

    monkeypatch.setenv("LLM_AUDIT_LEASE_SECONDS", "long")
    with pytest.raises(ConfigurationError, match="LLM_AUDIT_LEASE_SECONDS"):
        configure(strict=True)


def test_a_url_may_be_an_object() -> None:
    """What other libraries have for URLs is taken by its text."""
    configure(mongo_url=MongoDsn("mongodb://user:secret@db.example:27017/"))
    assert get_settings().hosts() == "db.example:27017"


def test_later_calls_keep_what_earlier_ones_named() -> None:
    """configure() changes what it names; nothing else is dropped, a redact rule least of all."""
    assert configure(redact=dict, service="a") is None  # type: ignore[func-returns-value]
    configure(service="b")
    configure(environment="test")
    settings = get_settings()
    assert (settings.redact, settings.service, settings.environment) == (dict, "b", "test")

    configure(redact=None)
    assert get_settings().redact is None


def test_what_the_environment_says_is_read_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that loads its .env late calls configure() after that."""
    configure(service="a")
    monkeypatch.setenv("LLM_AUDIT_DATABASE", "late")
    configure(service="b")
    assert get_settings().database == "late"


def test_settings_are_kept_from_the_first_record_on(
    llm_audit_records: RecordedCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other values are one clear error; equal ones are fine; shutdown() ends it."""
    configure(service="a", redact=dict)
    LLMLogger.start(model="m", messages=[])
    recorder = process.running()
    monkeypatch.setenv("LLM_AUDIT_DATABASE", "other")  # not named below, so not compared
    for equal in ({}, {"service": "a"}, {"redact": dict}, {"database": "llm_audit"}):
        configure(**equal)
    for other, names in (
        ({"service": "b"}, "service"),
        ({"service": "a", "redact": None}, "redact"),
        ({"collection": "b", "database": "b", "service": "a"}, "collection, database"),
    ):
        message = rf"^{names} cannot change now.*before the first.*llm_audit\.shutdown\(\)"
        with pytest.raises(ConfigurationError, match=message):
            configure(**other)
    LLMLogger.start(model="m", messages=[])
    assert process.running() is recorder
    assert {call.service for call in llm_audit_records} == {"a"}

    llm_audit.shutdown()
    configure(service="b")
    LLMLogger.start(model="m", messages=[])
    assert llm_audit_records[-1].service == "b"
    assert get_settings().redact is dict


RULES = """
import re
from functools import partial

WORDS = ("a", "b")
SECRET = re.compile("x")
SHARED = ["a"]

def inner(text): return SECRET.sub("", text)
def outer(fields): return {name: inner(text) for name, text in fields.items() if name in WORDS}
def shared(fields): return {name: fields[name] for name in SHARED}
def keyed(fields, key="k", *, other=None): return fields
def made(*words):
    def rule(fields): return {word: fields[word] for word in words}
    return rule
def recursive(fields): return recursive(fields["next"]) if "next" in fields else fields
closed, bound, lambda_ = made("a"), partial(keyed, key="a"), lambda fields: fields
by_list = made(["a"])
"""


def rules(source: str = RULES) -> dict[str, Any]:
    """Run the module as an import would, which makes every function in it anew."""
    namespace: dict[str, Any] = {"__name__": "rules"}
    exec(compile(source, "rules.py", "exec"), namespace)
    return namespace


@pytest.mark.usefixtures("llm_audit_records")
def test_the_same_rule_may_be_configured_twice() -> None:
    """A function that is made anew is the same; one that may do something else is not."""
    first = rules()
    changed = {
        "outer": ('re.compile("x")', 're.compile("y")'),
        "inner": ('re.compile("x")', 're.compile("x", re.I)'),
        "keyed": ('key="k"', 'key="l"'),
        "closed": ('made("a")', 'made("b")'),
        "bound": ('key="a"', 'key="b"'),
        "lambda_": ("fields: fields", "fields: {}"),
        "recursive": ("else fields", "else {}"),
    }
    for name, (was, is_) in changed.items():
        llm_audit.shutdown()
        configure(redact=first[name])
        LLMLogger.start(model="m", messages=[])
        configure(redact=rules()[name])
        with pytest.raises(ConfigurationError, match="redact cannot change now"):
            configure(redact=rules(RULES.replace(was, is_))[name])
        for other in changed.keys() - {name}:
            with pytest.raises(ConfigurationError, match="redact cannot change now"):
                configure(redact=first[other])
        with pytest.raises(ConfigurationError, match="redact cannot change now"):
            configure(redact=None)
    for name in ("shared", "by_list"):  # what a list holds may change
        llm_audit.shutdown()
        configure(redact=first[name])
        LLMLogger.start(model="m", messages=[])
        configure(redact=first[name])
        with pytest.raises(ConfigurationError, match="redact cannot change now"):
            configure(redact=rules()[name])


def test_the_same_url_may_be_written_in_another_way(tmp_path: Path) -> None:
    """What leads to the same hosts with the same credentials and options is the same."""
    same = (
        ("mongodb://h", "mongodb://h/", "mongodb://H:27017", "mongodb://h:27017/?", "mongodb://h?"),
        ("mongodb://b,a:1/db?w=1&tls=true", "mongodb://a:1,b/db?TLS=true&W=1"),
        ("mongodb://u:p%40@h/", "mongodb://%75:%70%40@h"),
        ("mongodb://h/?readPreferenceTags=a:1&readPreferenceTags=b:2",),
        ("mongodb://h/?readPreferenceTags=b:2&readPreferenceTags=a:1",),
        *(("mongodb://u@h",), ("mongodb://u:@h",), ("mongodb://U@h",), ("mongodb://u:q@h",)),
        *(("mongodb://h/db",), ("mongodb://h/DB",), ("mongodb://h:27018",), ("mongodb+srv://h",)),
        *(("mongodb://h/?w=1",), ("mongodb://h/?w=2",), ("mongodb://h/?tls=true&w=1",)),
        *(("mongodb://h/?appName=a%26w=1",), ("mongodb://%2Ftmp%2FA.sock",)),
        ("mongodb://%2Ftmp%2Fa.sock",),
    )
    meanings = [{meaning_of(url) for url in urls} for urls in same]
    assert [len(each) for each in meanings] == [1] * len(same)
    assert len(set().union(*meanings)) == len(same)

    configure(mongo_url="mongodb://u:hunter2@127.0.0.1:9", spool_dir=tmp_path)
    configure(exit_timeout_seconds=0)
    LLMLogger.start(model="m", messages=[])
    configure(mongo_url="mongodb://u:hunter2@127.0.0.1:9/")
    with pytest.raises(ConfigurationError, match="mongo_url cannot change now") as caught:
        configure(mongo_url="mongodb://u:hunter3@127.0.0.1:9/")
    assert "hunter" not in str(caught.value)


def test_a_failed_start_keeps_nothing(tmp_path: Path) -> None:
    """Where the recorder could not be made, the settings can still be put right."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    configure(spool_dir=in_the_way, strict=True)
    with pytest.raises(ConfigurationError, match="spool_dir"):
        LLMLogger.start(model="m", messages=[])
    configure(spool_dir=tmp_path / "spool")


def test_a_test_has_the_last_word(llm_audit_records: RecordedCalls, tmp_path: Path) -> None:
    """What a fixture has set is not changed by the program under test, before or after a record."""
    for _ in range(2):
        configure(mongo_url="mongodb://production", spool_dir=tmp_path, strict=False, service="a")
        LLMLogger.start(model="m", messages=[])
    assert get_settings().strict
    assert [call.service for call in llm_audit_records] == ["a", "a"]
    assert not list(tmp_path.iterdir())


def test_a_redact_variable_keeps_content_off_the_disk(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """No variable holds a function, but who sets it wants no content: it is left out and said."""
    monkeypatch.setenv("LLM_AUDIT_REDACT", "app.rules.redact")
    configure(spool_dir=tmp_path, exit_timeout_seconds=0)
    call_id = LLMLogger.start(
        model="m", messages=[{"content": "hunter2"}], metadata={"about": "hunter2"}
    )
    LLMLogger.complete(call_id, response_message={"content": "hunter2"})
    [journal] = tmp_path.rglob("*.bson")
    assert b"hunter2" not in journal.read_bytes()
    assert b"latency_ms" in journal.read_bytes()
    [line] = [line for line in caplog.messages if "REDACT" in line]
    assert "llm_audit.configure(redact=...)" in line
    assert "calls are recorded without their content" in line
    assert "app.rules" not in line

    llm_audit.shutdown(0)
    with pytest.raises(ConfigurationError, match="LLM_AUDIT_REDACT: "):
        configure(strict=True)
    configure(redact=dict, strict=True)  # then the variable does not count
    assert get_settings().redact is dict


def test_an_unknown_variable_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the nearest name, and never as an error: others may use the prefix too."""
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    for name in ("LLM_AUDIT_MONGO_URI", "llm_audit_spooldir", "LLM_AUDIT_ZZZ", "LLM_AUDIT_EMPTY"):
        monkeypatch.setenv(name, "secret" if name != "LLM_AUDIT_EMPTY" else "")
    # what Kubernetes sets in every pod beside a service that is called llm-audit
    for name in ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP_ADDR"):
        monkeypatch.setenv(f"LLM_AUDIT_{name}", "10.0.0.1")
    for _ in range(2):
        configure()

    assert len(caplog.messages) == 3
    text = "\n".join(sorted(caplog.messages))
    assert "LLM_AUDIT_MONGO_URI is no setting" in text
    assert "Did you mean LLM_AUDIT_MONGO_URL?" in text
    assert "Did you mean LLM_AUDIT_SPOOL_DIR?" in text
    assert "secret" not in text


def test_nothing_is_logged_for_good_settings(caplog: pytest.LogCaptureFixture) -> None:
    """Good settings are silent."""
    with caplog.at_level(logging.DEBUG, logger="llm_audit"):
        configure(mongo_url="mongodb+srv://user:pw@cluster.example.net/?w=1")
    assert caplog.messages == []
