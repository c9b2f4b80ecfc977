"""Settings that cannot be, rights that are missing: one line with the fix, and a code."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from faults.guarded import DATABASE, GuardedMongod

from llm_audit.embedded import HOST

Shell = Callable[..., Any]


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedMongod]:
    """Run a mongod that asks who is there."""
    with GuardedMongod() as server:
        server.create_users()
        yield server


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--mongo-url", "mongodb://h:99999"), "The setting mongo_url is wrong (Port must be"),
        (("--mongo-url", "mongodb://h/?replicaSet"), "The setting mongo_url is wrong ("),
        (
            ("--mongo-url", "mongodb://h/?tls=true&tlsCAFile=/none"),
            "The setting mongo_url is wrong",
        ),
        (("--database", "a b"), "database: no database has ' ' in its name"),
        (("--database", ""), "database: the name of a database cannot be empty"),
        (
            ("--collection", "llm_audit_processes"),
            "collection: llm_audit_processes holds something",
        ),
        (("--collection", "system.users"), "collection: system.users holds something else"),
    ],
    ids=["port", "option", "certificate", "space", "empty", "ours", "system"],
)
@pytest.mark.parametrize("command", ["calls", "doctor", "import -", "spool drain", "views role"])
def test_a_setting_that_cannot_be_is_named(
    options: tuple[str, str], complaint: str, command: str, shell: Shell
) -> None:
    """It is a mistake in what was given, not a server that is away."""
    if command == "views role" and "--mongo-url" in options:
        return  # it asks no server
    ended = shell(*options, *command.split())

    assert (ended.code, len(ended.errors.splitlines())) == (2, 1)
    assert ended.errors.startswith(f"llm-audit: {complaint}")


@pytest.mark.parametrize("command", ["calls", "doctor"])
def test_a_wrong_password_is_what_has_to_be_mended(
    command: str, shell: Shell, guarded: GuardedMongod
) -> None:
    """The server runs, so nobody is told to start it; the password is not repeated."""
    ended = shell("--mongo-url", guarded.url_with("wr0ng"), command)

    assert ended.code == 3
    assert "does not let us in: user or password is wrong; if the user is" in ended.errors
    assert "?authSource=admin. Fix LLM_AUDIT_MONGO_URL" in ended.errors
    assert "start it" not in ended.errors
    assert "wr0ng" not in ended.errors


@pytest.mark.parametrize("command", ["calls", "doctor", "export"])
def test_a_missing_right_is_named(command: str, shell: Shell, guarded: GuardedMongod) -> None:
    """Every command says in the same words what may not be done, and where."""
    ended = shell("--mongo-url", guarded.url, "--database", "other", command)

    assert ended.code == 3
    assert "the user has no right to " in ended.errors
    assert " in the database other. Let an administrator grant a role" in ended.errors
    assert DATABASE not in ended.errors


def test_who_gives_no_user_is_told_so(shell: Shell, guarded: GuardedMongod) -> None:
    """A server that asks who is there says nothing else."""
    ended = shell("--mongo-url", f"mongodb://{HOST}:{guarded.port}", "calls")

    assert ended.code == 3
    assert "it wants a user who has the right. Fix LLM_AUDIT_MONGO_URL" in ended.errors


def test_help_needs_no_url(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has set a wrong URL can still read how to fix it."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", "nonsense")

    assert shell("calls", "--help").code == 0
    assert shell("spool", "status", "--help").code == 0
    assert shell("calls").code == 2


@pytest.mark.filterwarnings("always::UserWarning")  # of the driver, about an option
@pytest.mark.parametrize(
    "command", ["calls", "doctor", "config", "indexes", "spool status", "spool drain", "search x"]
)
def test_no_command_says_the_password(command: str, shell: Shell) -> None:
    """However the connection string is wrong, and wherever in it the password stands."""
    for url in (
        "mongodb://u:hunter2@127.0.0.1:1/?serverSelectionTimeoutMS=1&connectTimeoutMS=1",
        "mongodb://u:hunter2/x@127.0.0.1:1",
        "mongodb://u:hunter2@127.0.0.1:99999",
        "mongodb://u:hunter2@127.0.0.1:port",
        "mongodb://u:hunter2@",
        "mongodb://u:hunter2@h/?w=x&serverSelectionTimeoutMS=1",
        "mongodb://u:hunter2%zz@127.0.0.1:1/?serverSelectionTimeoutMS=1",
        "mongodb://u:@hunter2@127.0.0.1",
        "mongodb://u:p?hunter2@127.0.0.1",
        "mongodb+srv://u:hunter2@",
        "mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFilePassword=hunter2&tlsCAFile=/no",
        "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1&authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:hunter2",
        "mongodb://127.0.0.1:1/?proxyPassword=hunter2&serverSelectionTimeoutMS=1",
        "u:hunter2@127.0.0.1",
        "http://u:hunter2@127.0.0.1",
        "hunter2",
    ):
        ended = shell("--mongo-url", url, *command.split())
        assert "hunter2" not in ended.output + ended.errors, (url, ended)
        assert "mistake in" not in ended.errors, (url, ended)
