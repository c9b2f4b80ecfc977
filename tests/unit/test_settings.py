"""Settings: where they come from, and what a wrong one does."""

import logging
import re
from pathlib import Path

import pytest
from annotated_types import Le

import llm_audit
from llm_audit import ConfigurationError, LLMLogger, configure
from llm_audit.errors import forget_logged
from llm_audit.settings import Settings, changed_settings, get_settings, reset_settings
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
        if name != "spool_group" and re.search(r"\b(int|float)\b", str(field.annotation))
    ]


def test_every_number_has_bounds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What no machine can count, or is below zero, is a wrong variable and a wrong argument."""
    assert len(numbers()) == 15
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
        model="hunter2",
        messages=[{"content": "hunter2"}],
        metadata={"about": "hunter2"},
        user_id="hunter2",
        tags=["hunter2"],
    )
    LLMLogger.complete(call_id, response_message={"content": "hunter2"})
    [journal] = tmp_path.rglob("*.bson")
    assert b"hunter2" not in journal.read_bytes()
    assert b"latency_ms" in journal.read_bytes()
    assert b"a rule of redact failed" in journal.read_bytes()  # each call says what it lacks
    assert not any("rule of redact failed" in line for line in caplog.messages)
    [line] = [line for line in caplog.messages if "REDACT" in line]
    assert "llm_audit.configure(redact=...)" in line
    assert "calls are recorded without their text and ids" in line
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


NAMES = [
    *(("database", name) for name in ("", " ", "a b", "a.b", "a/b", "a\\b", "a$b", 'a"b', "a\0b")),
    *(("database", name) for name in ("admin", "LOCAL", "config", "d" * 64, "ä" * 32, "\ud800")),
    *(("collection", name) for name in ("", " ", "a$b", "a\0b", ".a", "a.", "a..b", "c" * 121)),
    *(
        ("collection", name)
        for name in ("system.users", "system.", "fs.files", "fs.chunks", "fs.x")
    ),
    *(("collection", f"llm_audit_{name}") for name in ("processes", "verdicts", "rejected")),
]


def test_names_that_cannot_hold_calls_are_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A name that MongoDB does not take, or that is something else's, is refused at once."""
    for setting, name in NAMES:
        with pytest.raises(ConfigurationError, match=f"^{setting}: ") as refused:
            llm_audit.configure(**{setting: name})
        assert "Fix the argument" in str(refused.value), (setting, name)
        if name and "\0" not in name and name != "\ud800":
            caplog.clear()
            forget_logged()
            with monkeypatch.context() as patch:
                patch.setenv(f"LLM_AUDIT_{setting.upper()}", name)
                reset_settings()
                assert getattr(get_settings(), setting) == Settings.model_fields[setting].default
                assert f"LLM_AUDIT_{setting.upper()}: " in caplog.text, (setting, name)
    for setting, name in (
        ("database", "d" * 63),
        ("collection", "llm_audit_calls"),
        ("collection", "a.b"),
    ):
        llm_audit.configure(**{setting: name})
