"""Settings from the first record on: they are kept, and what is the same may be said again."""

from pathlib import Path
from typing import Any

import pytest

import llm_audit
from llm_audit import ConfigurationError, LLMLogger, configure
from llm_audit.recorder import process
from llm_audit.settings import get_settings
from llm_audit.settings.mongo_url import meaning_of
from llm_audit.testing import RecordedCalls


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


def test_the_same_folder_may_be_named_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text or path, relative or not, through a link or from home: it is one folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    configure(spool_dir=tmp_path / "spool", mongo_url="mongodb://127.0.0.1:9")
    LLMLogger.start(model="m", messages=[])
    recorder = process.running()
    for same in ("spool", "spool/", "~/spool", Path("x/../spool"), f"{tmp_path}/link/spool"):
        configure(spool_dir=same)
    with pytest.raises(ConfigurationError, match="spool_dir cannot change"):
        configure(spool_dir="other")
    assert process.running() is recorder


def test_a_failed_start_keeps_nothing(tmp_path: Path) -> None:
    """Where the recorder could not be made, the settings can still be put right."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    configure(spool_dir=in_the_way, strict=True)
    with pytest.raises(ConfigurationError, match="spool_dir"):
        LLMLogger.start(model="m", messages=[])
    configure(spool_dir=tmp_path / "spool")
