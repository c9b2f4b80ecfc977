"""The password in mongo_url: nothing that we print, log, raise or keep in a frame shows it."""

import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType

import pytest
from pydantic import ValidationError
from pymongo.errors import PyMongoError

import llm_audit
from llm_audit import ConfigurationError, UnavailableError, configure
from llm_audit.encoding.safe_text import safe_repr
from llm_audit.settings import Settings, get_settings, reset_settings
from llm_audit.store.connection import client_of

PASSWORD = "hunter2"
URLS = [
    f"mongodb://user:{PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=1",
    f"mongodb://user:{PASSWORD}/with-slash@127.0.0.1:1",
    f"mongodb://user:{PASSWORD}@127.0.0.1:99999",
    f"mongodb://user:{PASSWORD}@",
    f"user:{PASSWORD}@127.0.0.1",
    f"mongodb://127.0.0.1:1/?tls=true&tlsCertificateKeyFilePassword={PASSWORD}&tlsCAFile=/no",
]


def frames_of(error: BaseException | None) -> Iterator[TracebackType]:
    """Yield what tools that print local variables look at: our frames, behind each cause too."""
    while error is not None:
        step = error.__traceback__
        while step is not None:
            if "llm_audit" in step.tb_frame.f_globals.get("__name__", ""):
                yield step
            step = step.tb_next
        error = error.__cause__ or error.__context__


def assert_silent(error: BaseException) -> None:
    assert PASSWORD not in "".join(traceback.format_exception(error))
    assert PASSWORD not in f"{error!r} {error} {error.args}"
    for step in frames_of(error):
        for name, value in step.tb_frame.f_locals.items():
            assert PASSWORD not in safe_repr(value), (step.tb_frame, name)


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_settings_do_not_show_it(url: str) -> None:
    """Neither as text nor dumped; copies have it for those who ask."""
    settings = Settings(mongo_url=url)
    shown = [
        *(repr(settings), str(settings), f"{settings.mongo_url}", repr(settings.mongo_url)),
        *(settings.model_dump_json(), repr(settings.model_dump()), repr(dict(settings))),
        *(repr(vars(settings)), settings.target_name(), settings.target(), settings.hosts()),
    ]
    assert PASSWORD not in " ".join(shown)
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.mongo_url.get_secret_value() == url
    assert json.loads(settings.model_dump_json())["mongo_url"] == "**********"


def refused(act: Callable[[], object]) -> BaseException | None:
    try:
        act()
    except (ConfigurationError, UnavailableError, ValidationError, PyMongoError) as error:
        return error
    return None


def ask() -> None:
    with client_of(get_settings()) as client:
        client.admin.command("ping")


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_errors_do_not_show_it(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with it or beside it, however it was given."""
    errors = [
        refused(lambda: configure(mongo_url=url, batch_size="many")),
        refused(lambda: configure(mongo_url=url, nonsense=1)),
        refused(lambda: configure(mongo_url=[url])),
        refused(lambda: configure(mongo_url=url.encode() + b"\xff")),
        refused(lambda: Settings(mongo_url=[url])),  # type: ignore[arg-type]
        refused(lambda: configure(mongo_url=url)),
    ]
    reset_settings()
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", url)
    errors += [refused(get_settings), refused(lambda: configure(strict=True))]
    monkeypatch.setenv("LLM_AUDIT_BATCH_SIZE", "many")
    reset_settings()
    errors += [refused(get_settings), refused(lambda: configure(strict=True))]
    errors.append(refused(ask))
    assert sum(error is not None for error in errors) >= 6
    for error in filter(None, errors):
        assert_silent(error)
    assert PASSWORD not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # half a client
async def test_init_does_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where MongoDB's driver refuses it, the error of init() is as silent."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", URLS[2])
    with pytest.raises(ConfigurationError, match=r"mongo_url.*Port must be") as caught:
        await llm_audit.init()
    assert_silent(caught.value)
