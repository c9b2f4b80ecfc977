"""Ways around redaction: what is written in odd ways, in odd places, or overlaps."""

import base64
import json
import os
import re
from typing import Any

import bson
import pytest
from bson import Binary, Code, Regex

from llm_audit import LLMLogger, audit_context, configure
from llm_audit.providers.errors import shortened
from llm_audit.redaction.apply import Redaction, Rewriting
from llm_audit.redaction.rule import Rule
from llm_audit.redaction.secrets import names
from llm_audit.settings import Settings
from llm_audit.testing.records import RecordedCalls

KEY = "sk-proj-0123456789abcdefABCDEF"
PASSWORD = "Tr0ub4dor-and-3"
ADDRESS = "ada@example.com"


def stored(value: Any, **settings: Any) -> str:
    """Return how a value is stored, as text."""
    rewriting = Rewriting(Redaction(Settings(**settings)), None)
    return repr(rewriting({"metadata": {"": value}}))


@pytest.mark.parametrize(
    "value",
    [
        re.compile(KEY),
        Regex(KEY),
        Code(f"f('{KEY}')"),
        KEY.encode(),
        Binary(KEY.encode(), 128),
        b"\xff\xfe " + KEY.encode(),
        {KEY: 1},
        {"a": [{KEY: {KEY: [KEY]}}]},
        json.dumps({"a": json.dumps({"b": json.dumps([KEY])})}),
        f'\n {{"a": "{KEY}"}}',
        '{"a": "\\u0073k-proj-0123456789abcdefABCDEF"}',
        '{"api\\u005fkey": "sk-proj-0123456789abcdefABCDEF"}',
        f"s\u200bk-proj-\u00ad{KEY[8:]}",
        f"\uff53k-proj-{KEY[8:]}",
        f"sk\u2011proj\u2011{KEY[8:]}",
    ],
    ids=repr,
)
def test_a_key_is_replaced_wherever_it_stands(value: Any) -> None:
    """In patterns, code, bytes, names of documents, and JSON in JSON, escaped or not."""
    assert "0123456789abcdef" not in stored(value)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"password": "{PASSWORD}", "password": ""}}',
        f'{{"password": "", "password": "{PASSWORD}"}}',
        f'{{"p\\u0061ssword": "{PASSWORD}", "password": "${{PASSWORD}}", "once": 1}}',
        f'{{"a": [{{"client_secret": "{PASSWORD}", "client_secret": null}}]}}',
    ],
)
def test_a_name_that_stands_twice_hides_no_secret(text: str) -> None:
    """Readers of JSON take the first or the last of two values; both are looked at."""
    assert PASSWORD not in stored(text)
    assert '"once": 1' in stored('{"password": "a-secret", "password": 5, "once": 1}')


@pytest.mark.parametrize(
    "name",
    [
        *("password", "pass\u200bword", "\uff50assword", "PASS-WORD", "Pass Word", "pass.word"),
        *("hmac_key", "LICENSE_KEY", "deployKey", "basic_auth", "BasicAuth"),
        *("password_1", "password2", "passwordConfirmation", "api_key_openai", "token_prod"),
    ],
    ids=ascii,
)
def test_what_a_name_says_is_secret_is_replaced_however_it_is_spelled(name: str) -> None:
    """With blanks and signs in it, wide letters, or with what tells which one it is behind."""
    assert PASSWORD not in stored({name: PASSWORD})


def test_a_bare_password_ends_at_a_sign_of_queries_only_in_one() -> None:
    """After a colon or an equals sign a password may hold any sign that ends no value there."""
    for text in ("password: a1B&x-D!c9", "PASSWORD=a1B&x-D!c9", "secret = a1B&x-D!c9\n"):
        assert "!c9" not in stored(text), text
    assert "page=2" in stored("https://x.example/?token=a1Bx-D!c9&page=2")


@pytest.mark.parametrize(
    "name",
    ["tokens_total", "max_tokens", "password_policy", "token_type", "tokenizer", "secretary"],
)
def test_a_name_that_only_looks_like_it_keeps_its_value(name: str) -> None:
    """What is counted in tokens, and what is said about passwords, is stored."""
    assert PASSWORD in stored({name: PASSWORD})


@pytest.mark.parametrize(
    "value",
    ['{"to": "ada\\u0040example.com"}', ["\u00e9 ada@example.com".encode()], {ADDRESS: ADDRESS}],
    ids=repr,
)
def test_rules_that_were_named_look_in_the_same_places(value: Any) -> None:
    """They look into JSON whose signs are escaped, and at bytes, without the rules for secrets."""
    assert "example.com" not in stored(value, redact="email", redact_secrets=False)


def test_what_overlaps_is_replaced_as_a_whole() -> None:
    """Where one rule ends within what another has found, nothing of either is left."""
    rules = [Rule("one", "abcdef"), Rule("two", "defghi"), Rule("three", "b")]

    assert stored("xabcdefghix", redact=rules).count("[redacted:") == 2
    assert "ghi" not in stored("xabcdefghix", redact=rules)


def test_a_picture_is_not_searched() -> None:
    """What is long and nothing but base64 holds no text, and to search it would take seconds."""
    searched: list[str] = []

    def find(text: str) -> list[tuple[int, int]]:
        searched.append(text)
        return []

    picture = base64.b64encode(os.urandom(60_000)).decode()
    with_text = [f"{picture} {KEY}", f"data:,{KEY} {picture}"]
    stored([picture, f"data:image/png;base64,{picture}", *with_text], redact=Rule("own", find))

    assert [text for text in searched if picture in text] == with_text


@pytest.mark.parametrize(
    "text",
    [
        "client(auth_token=auth_token, cookies=cookies, password=self.password)",
        "ENV_VAR = 'AWS_CONTAINER_AUTHORIZATION_TOKEN'",
        'api_key = os.environ["OPENAI_API_KEY"]',
        'a user expects a "Password:" prompt, and then calls "sendline()"',
        "arn:aws:secretsmanager:us-west-2:123456789012:secret:MySecret2-a1b2c3",
        '{"input_token": "nextToken", "output_token": "Marker", "request_token": "a1b2c3d4"}',
        '<a accesskey="P">',
        "socks5h://<username>:<password>@proxy, and then some <b>words</b>",
        "Set the password: at least twelve characters, none of them twice",
        "The secret of good tea: water that boils. Its token value: none.",
        "def login(user: str, password: str, token: str | None = None) -> None: ...",
    ],
)
def test_code_and_prose_about_secrets_stay(text: str) -> None:
    """Who asks a model about code sends names of secrets all the time, and no secret."""
    assert text in stored([text]).replace('\\"', '"').replace("\\'", "'")


def test_signs_that_have_no_other_form_are_looked_at_once() -> None:
    """A circled ten is no digit, and is itself however often a text is read as people do."""
    text = "".join(map(chr, range(0x2460, 0x2500))) + "\u207b\u2094"

    assert text in stored(text, redact="phone,card")
    assert Redaction(Settings()).is_clean(bson.encode({"a": text}), {"a": text})


def test_the_password_of_a_url_may_hold_any_sign() -> None:
    """As they are drawn: the quick look does not end at a sign that may end a name."""
    for password in ("Tr0ub=4dor", "Tr0ub&4dor", "Tr0u==b4dor=", "Tr0ub%4dor", "Tr0ub+4$dor!"):
        url = f"postgresql://app:{password}@db.example.com:5432/app"
        document = {"metadata": {"url": url}}

        assert not Redaction(Settings()).is_clean(bson.encode(document), document), password
        assert "dor" not in stored(url), password


@pytest.mark.timeout(60)
def test_no_text_takes_a_look_for_secrets_out_of_proportion() -> None:
    """In each, secrets seem to begin all the time, and never end: quadratic work takes minutes."""
    for piece in (
        "sk-aaaa-",
        "xai-aaaa-",
        "-eyJaaaa",
        "-eyJaaaa" * 40 + "token=",
        "see https://example.com/a and https://example.org/b token=",
        "x://aaaaaaaaaaaaaaaaaaaa/ token=",
    ):
        text = piece * (200_000 // len(piece))
        assert KEY not in stored(f"{text} {KEY} {text}"), piece


def test_texts_that_may_be_names_are_not_kept_in_memory() -> None:
    """A list of bullet points has texts like options; each is looked at by its end."""
    names._verdicts.clear()
    points = [f"- {n} {'x' * 10_000} {KEY}" for n in range(100)]
    stored({"list": points, **dict.fromkeys(points)})

    assert sum(map(len, names._verdicts)) < 100_000


@pytest.mark.parametrize("levels", [100, 600, 5_000])
def test_json_of_many_levels_costs_a_call_nothing_else(levels: int) -> None:
    """Python reads more levels than it goes through: the text is looked through as it is."""
    text = f'{{"password": "{PASSWORD}", "a": {"[" * levels}1{"]" * levels}, "b": "kept"}}'
    kept = stored(text)

    assert PASSWORD not in kept
    assert "kept" in kept


def test_tokens_behind_other_words_are_found_whatever_their_length() -> None:
    """A JWT may have a long head, padding, and a word before it."""
    for head in ("eyJhbGci", f"eyJ{'a' * 3_000}", "eyJhbGci=="):
        for before in ("", "x=", "at ", "\\n"):
            assert head not in stored(f"{before}{head}.eyJzdWIiOiJ4In0.c2ln"), (before, head[:9])
    assert "eyJhbGci" not in stored("session_eyJhbGciOiJ.eyJzdWIiOiJ4In0.c2ln")


@pytest.mark.timeout(60)
def test_many_names_that_are_replaced_alike_are_told_apart_in_no_time() -> None:
    """Ten thousand addresses as the names of one document: counted on, not tried one by one."""
    addresses = {f"a{n}@example.com": n for n in range(10_000)}
    rewriting = Rewriting(Redaction(Settings(redact="email")), None)
    clean = rewriting({"metadata": addresses})["metadata"]

    assert len(clean) == 10_000
    assert {"[redacted:email]", "[redacted:email]#2", "[redacted:email]#10000"} <= clean.keys()


@pytest.mark.parametrize("pattern", [".+", "[a-z]+", "said|response|messages|scores|status|task"])
def test_a_rule_that_finds_everything_leaves_our_own_names(
    llm_audit_records: RecordedCalls, pattern: str
) -> None:
    """Fields of a call, of its scores and of its task keep their names, or the call were lost."""
    configure(redact=Rule("all", pattern))
    call_id = LLMLogger.start(model="m", messages=[{"role": "user", "content": KEY}])
    LLMLogger.score(call_id, "good", value=True, comment=KEY)
    body = {"choices": [{"message": {"role": "assistant", "content": PASSWORD}}]}
    LLMLogger.complete(call_id, response=body)
    (call,) = llm_audit_records

    assert (call.id, call.status) == (call_id, "SUCCESS")
    assert call.messages
    assert call.scores[0].value is True


def test_a_rule_may_be_for_some_fields_and_some_types_of_calls(
    llm_audit_records: RecordedCalls,
) -> None:
    """Ids are fields, too; what is in the others, and in other calls, stays."""
    rules = [
        Rule("email", fields=("user_id", "metadata"), operator="mask"),
        Rule("order", r"order (?P<value>\d+)", literals=("ORDER",), call_types=("CHAT",)),
    ]
    configure(redact=rules)
    said = [{"role": "user", "content": f"order 4711 of {ADDRESS}"}]
    for call_type in ("CHAT", "AGENT"):
        with audit_context(user_id=ADDRESS, metadata={"of": ADDRESS}):
            call_id = LLMLogger.start(call_type=call_type, model="m", messages=said)
        LLMLogger.complete(call_id, response_message={"role": "assistant", "content": "order 12"})
    chat, agent = llm_audit_records

    assert (chat.user_id, chat.metadata) == ("***@example.com", {"of": "***@example.com"})
    assert chat.messages[0]["content"] == f"order [redacted:order] of {ADDRESS}"
    assert chat.response_message == {"role": "assistant", "content": "order [redacted:order]"}
    assert chat.redacted == {"email": 2, "order": 2}
    assert (agent.user_id, agent.messages) == ("***@example.com", said)
    assert agent.redacted == {"email": 2}


def test_only_rules_of_the_user_can_be_too_slow() -> None:
    """Ours take as long as the text is: a huge one does not cost the calls after it theirs."""
    never = -1.0  # whatever is measured is too slow
    given = ["email", ["email:mask", "card"], None, Rule("own", "x"), ["email", Rule("own", "x")]]
    kept = []
    for redact in given:
        redaction = Redaction(Settings(redact=redact), budget_seconds=never)
        kept.append("metadata" in Rewriting(redaction, None)({"metadata": {"a": KEY}}))

    assert kept == [True, True, True, False, False]


def test_a_card_is_found_where_it_is_a_number(llm_audit_records: RecordedCalls) -> None:
    """Some APIs give the arguments of tools as values; numbers of ours stay what they are."""
    configure(redact=["card", Rule("digits", r"\d{13,}")])
    call_id = LLMLogger.start(model="m", metadata={"card": 4111111111111111, "n": 12})
    LLMLogger.score(call_id, "good", 0.5)
    calls = [{"functionCall": {"name": "pay", "args": {"card": 4111111111111111, "sum": 5}}}]
    LLMLogger.complete(call_id, response_message={"role": "model", "parts": calls})
    (call,) = llm_audit_records

    assert call.metadata == {"card": "[redacted:card]", "n": 12}
    assert call.response_message
    args = call.response_message["parts"][0]["functionCall"]["args"]
    assert args == {"card": "[redacted:card]", "sum": 5}
    assert call.scores[0].value == 0.5
    assert call.status == "SUCCESS"


def test_json_that_was_cut_hides_nothing() -> None:
    """Of a long body of an error the beginning is kept: what names say in it counts there, too."""
    headers = {"x-gateway": PASSWORD, "accept": "all"}
    body = {"error": "no", "headers": headers, "pair": {"name": "pwd", "value": PASSWORD}}
    whole = json.dumps({**body, "padding": "x" * 30_000})
    assert PASSWORD not in stored(shortened(whole))
    assert f"… ({len(whole)} characters)" in stored(shortened(whole))
    for end in range(whole.index(PASSWORD) + len(PASSWORD), whole.index("padding") + 20):
        assert PASSWORD not in stored(whole[:end]), end
        assert PASSWORD not in stored(f"{whole[:end]}… ({len(whole)} characters)"), end
    no_text = b'{"\xff": ' + json.dumps(body).encode()
    assert PASSWORD not in stored(no_text)
    assert "[redacted:" in stored(no_text)
    assert "and more" in stored(f'{{"password": "{PASSWORD}"}} and more')
