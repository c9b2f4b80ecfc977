"""Whatever is given as a setting, or as a connection string: errors of ours, no secret shown."""

import traceback
from typing import Any

import pytest
from anything import TEXTS, VALUES, Hostile, no_hang
from properties import example, given, st
from recordable import VALUES as RECORDABLE

from llm_audit import ConfigurationError, UnavailableError, configure
from llm_audit.settings import Settings, get_settings, reset_settings
from llm_audit.settings.mongo_url import hosts_in, meaning_of, option_names, without_secrets
from llm_audit.store.answers.plain_errors import plain_errors
from llm_audit.store.connection import client_of

SECRET = "hunter2Secret"
NAMES = st.sampled_from(sorted(Settings.model_fields)) | st.text(
    st.sampled_from("abc_"), min_size=1
)
# no NUL and no surrogate: no environment has them
VARIABLES = TEXTS.filter(lambda text: "\0" not in text) | st.integers().map(str)
PARTS = st.sampled_from(
    [
        *(
            "mongodb://",
            "mongodb+srv://",
            "http://",
            "//",
            "user",
            ":",
            "@",
            "/",
            "?",
            "&",
            ",",
            ";",
        ),
        *(
            "127.0.0.1",
            "localhost",
            "[::1]",
            ":1",
            ":27017",
            ":99999",
            ":x",
            "%2Ftmp%2Fx.sock",
            "%zz",
        ),
        *("authSource=admin", "replicaSet=r", "tls=true", "tlsCertificateKeyFilePassword=", "w=1"),
        *("authMechanismProperties=AWS_SESSION_TOKEN:", "proxyPassword=", "#", " ", "\n", "é", "="),
        *("serverSelectionTimeoutMS=1", "connectTimeoutMS=1", "appName=x", "TLSinsecure=maybe"),
    ]
)
URLS = st.lists(PARTS | st.just(SECRET), min_size=1, max_size=14).map("".join)


def complaint(what: Any, *arguments: Any, **given: Any) -> str:
    """Do something, and return what is said of it; an error has to be one of ours."""
    try:
        return repr(what(*arguments, **given))
    except (ConfigurationError, UnavailableError) as error:
        return "".join(traceback.format_exception(error))


GIVEN = VALUES | TEXTS | st.builds(Hostile) | st.sampled_from(list(RECORDABLE.values()))


@given(settings=st.dictionaries(NAMES, GIVEN | st.lists(GIVEN, max_size=2), max_size=4))
def test_any_arguments(settings: dict[str, Any]) -> None:
    """What cannot be a setting is an error that names it, and changes nothing."""
    with no_hang():
        before = get_settings()
        said = complaint(configure, **settings)
        if said != "None":
            assert get_settings() == before
        reset_settings()


def test_a_url_that_will_not_be_text() -> None:
    """It is refused like any other that is none."""
    with pytest.raises(ConfigurationError, match="mongo_url"):
        configure(mongo_url=Hostile())


@given(variables=st.dictionaries(NAMES, VARIABLES, max_size=4), strict=st.booleans())
def test_any_environment(variables: dict[str, str], strict: bool) -> None:
    """A variable that cannot be a setting is said, and never harms the audited code."""
    with pytest.MonkeyPatch.context() as patch, no_hang():
        for name, value in variables.items():
            patch.setenv(f"LLM_AUDIT_{name.upper()}", value)
        reset_settings()
        assert isinstance(get_settings(), Settings)
        complaint(configure, strict=strict)
    reset_settings()


@example(url="mongodb://127.0.0.1:1/?proxyPassword=hunter2Secret")  # unknown to the driver
@given(url=URLS)
def test_any_url(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its password is in nothing that is said of it; what is shown is in it, but for stars."""
    with no_hang():
        said = [complaint(configure, mongo_url=url)]
        settings = Settings(mongo_url=url)  # type: ignore[arg-type]  (pydantic makes a secret of it)
        said += [repr(settings), settings.target_name(), settings.hosts()]
        said += [complaint(opened, settings), hosts_in(url), repr(option_names(url))]
        shown = without_secrets(url)
        meaning_of(url)
    reset_settings()
    if f"{SECRET}@" in url or f"={SECRET}" in url:
        text = " ".join(said) + caplog.text
        assert is_a_name(url) or SECRET not in text, text
    assert len(shown) <= len(url) + 3 * url.count("=") + 3 * url.count(";") + 3 * url.count("&") + 9


def opened(settings: Settings) -> None:
    with plain_errors(settings), client_of(settings):
        pass


def is_a_name(url: str) -> bool:
    """Tell whether the secret also stands where none is: as a user, a host or an option's name."""
    return url.count(SECRET) > 1
