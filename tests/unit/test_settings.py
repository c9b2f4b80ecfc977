"""Settings: where they come from, and what a wrong one does."""

import logging
from pathlib import Path

import pytest

from llm_audit import ConfigurationError, configure
from llm_audit.settings import Settings, get_settings


def test_arguments_beat_the_environment_which_beats_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of argument, environment variable and default, the first that is given counts."""
    monkeypatch.setenv("LLM_AUDIT_DATABASE", "from_environment")
    monkeypatch.setenv("LLM_AUDIT_SERVICE", "from_environment")
    settings = configure(database="from_argument")

    assert settings is get_settings()
    assert settings.database == "from_argument"
    assert settings.service == "from_environment"
    assert settings.collection == "llm_calls"


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without configure(), the settings come from the environment at first use."""
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_AUDIT_ENABLED", "false")
    monkeypatch.setenv("LLM_AUDIT_WRITE_CONCERN", "1")
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
    """configure() names an argument that is no setting."""
    with pytest.raises(ConfigurationError, match="mongo_uri"):
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
    ],
)
def test_a_wrong_value_is_refused(name: str, value: object) -> None:
    """configure() names the setting whose value cannot be, and where to mend it."""
    with pytest.raises(ConfigurationError, match=rf"{name}.*LLM_AUDIT_{name.upper()}"):
        configure(**{name: value})


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:27017", "http://localhost", "mongodb://", "", "mongodb://host:port"),
        *("mongodb://user:secret@/db", "mongodb://user:secret/@host", "mongodb://[::1"),
        *("mongodb://user:secret@?@host", "mongodb://user:@secret@host", "mongodb://a,,b"),
    ],
)
def test_a_broken_url_is_an_error_in_strict_mode(url: str) -> None:
    """In strict mode a mongo_url that cannot be one is refused, without repeating it."""
    with pytest.raises(ConfigurationError, match="mongo_url") as caught:
        configure(mongo_url=url, strict=True)
    assert "secret" not in str(caught.value)


def test_a_broken_url_is_logged_once_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    """Outside strict mode a broken mongo_url is named once in the log, and configured."""
    for _ in range(2):
        configure(mongo_url="localhost:27017")

    assert get_settings().mongo_url == "localhost:27017"
    (line,) = caplog.messages
    assert "mongo_url" in line


def test_a_broken_url_in_the_environment_is_an_error_in_strict_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broken LLM_AUDIT_MONGO_URL is reported at each use, not only at the first."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "localhost")
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="mongo_url"):
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
    before = configure(service="kept")
    with pytest.raises(ConfigurationError):
        configure(batch_size=-1)
    assert get_settings() is before


def test_nothing_is_logged_for_good_settings(caplog: pytest.LogCaptureFixture) -> None:
    """Good settings are silent."""
    with caplog.at_level(logging.DEBUG, logger="llm_audit"):
        configure(mongo_url="mongodb+srv://user:pw@cluster.example.net/?w=1")
    assert caplog.messages == []
