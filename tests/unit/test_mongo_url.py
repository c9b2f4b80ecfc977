"""`mongo_url`: what is one, and which collection it leads to."""

import pytest
from pydantic import MongoDsn

from llm_audit import ConfigurationError, configure
from llm_audit.settings import Settings, get_settings
from llm_audit.store.connection import client_of


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


def test_the_way_through_an_agent_knows_no_hosts() -> None:
    """Whoever leaves shipping to an agent need not know where MongoDB is; all else tells them."""
    usual = {"mongo_url": "mongodb://a", "shipper": "agent"}
    ours = Settings(**usual)

    assert ours.target() == ours.target("agent") == Settings(shipper="agent").target()
    assert ours.target("agent") == Settings(mongo_url="mongodb://c").target("agent")
    assert ours.target("thread") == Settings(mongo_url="mongodb://a").target()
    assert ours.target_name() == "an agent, database llm_audit, collection llm_calls"
    assert ours.target_name("thread") == "a, database llm_audit, collection llm_calls"
    others = [{"database": "other"}, {"collection": "other"}, {"redact_in_shipper": "email"}]
    for other in [{"shipper": "thread", "mongo_url": "mongodb://agent"}, *others]:
        assert Settings(**usual | other).target() != ours.target(), other


@pytest.mark.parametrize("url", ["mongodb://[::1", "mongodb://u:pass/word@host", "nonsense"])
def test_every_url_has_a_target(url: str) -> None:
    """Even a broken mongo_url has a folder in the spool, where calls wait for a better one."""
    assert Settings(mongo_url=url).target()


def test_a_url_may_be_an_object() -> None:
    """What other libraries have for URLs is taken by its text."""
    configure(mongo_url=MongoDsn("mongodb://user:secret@db.example:27017/"))
    assert get_settings().hosts() == "db.example:27017"


def test_what_a_url_says_of_the_client_holds() -> None:
    """Options in the URL come before ours, in sync and async code; the others stay."""
    url = "mongodb://127.0.0.1:1/?serverselectiontimeoutms=70&appName=theirs"
    with client_of(Settings(mongo_url=url, database="d")) as client:
        options = client.options
    assert options.server_selection_timeout == 0.07
    assert options.pool_options.appname == "theirs"
    assert options.codec_options.tz_aware

    with client_of(Settings(mongo_url="mongodb://127.0.0.1:1")) as client:
        assert client.options.pool_options.appname == "llm-audit"
