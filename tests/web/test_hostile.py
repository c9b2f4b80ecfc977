"""Whatever a stranger stored, whatever is asked: each page is there, inert, and one tenant's."""

import gzip
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import gridfs
import pytest
from hostile_calls import HOSTILE, KEYS, TEXTS, call_of_text, odd_calls
from made_up_calls import Call
from patience import share
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_pages import ALL, PAGES, noted, read
from viewer_tabs import Viewer
from waiting import Recording
from whole_documents import DEAD, REFUSED

from llm_audit import embedded
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.web.parameters import FILTERS

PAGE_MAX_BYTES = 40_000  # gzipped
PAGE_MAX_NODES = 10_000
NO_FORM = ("/export", "/media")  # what they answer is no page
EVERYWHERE = ("format", "tz", "q")
OF_ONE = ("id", "a", "call")  # parameters that name what a page is about
VALUES = (
    *("", "-1", "9" * 400, "²", "a\x00b\u202e<zz>", "[$ne]", "(", "x" * 5_000),
    *("/messages/0/content", "9999-12-31T23:59:59+14:00", "2026-02-30", "99999999999d"),
)
MARK = "QZXQ"


def ids_of(call: Call) -> dict[str, str]:
    """Return what names this call in each parameter that names one."""
    return {**dict.fromkeys((*OF_ONE, "b"), str(call["_id"])), "sha256": "0" * 64, "q": "alert"}


def found_wrong(answer: Any) -> list[str]:
    """Return what is wrong with an answer: a page that does something, or is too large."""
    kind = answer.headers["content-type"]
    wrong = [f"status {answer.status_code}"] if answer.status_code >= 500 else []
    if kind.startswith("application/json"):
        json.loads(answer.text)
    elif kind.startswith("text/html"):
        page = read(answer.text)
        wrong += page.wrong
        if len(gzip.compress(answer.content, 5)) > PAGE_MAX_BYTES:
            wrong.append(f"{len(gzip.compress(answer.content, 5)):,} bytes gzipped")
        if page.nodes > PAGE_MAX_NODES:
            wrong.append(f"{page.nodes:,} nodes")
    if answer.headers["x-content-type-options"] != "nosniff":
        wrong.append("headers")
    return wrong


@pytest.mark.many
def test_whatever_is_stored_is_inert_on_every_page(viewer: Viewer, database: Database[Any]) -> None:
    """Markup, addresses, templates, bidi; any type in any field; in HTML, JSON and files."""
    odd = odd_calls()
    database["llm_calls"].insert_many([*HOSTILE, *odd])
    database["llm_audit_processes"].insert_one(DEAD | {"host": TEXTS[0], "service": TEXTS[1]})
    database["llm_audit_rejected"].insert_one(REFUSED | {"reason": TEXTS[0], "detail": TEXTS[1]})
    tab = viewer()
    names = [{"id": value, "q": "alert"} for value in (*KEYS.values(), "p", *TEXTS[:12:4])]
    of_calls = [ids_of(call) | {"as": "markdown"} for call in (*HOSTILE[::4], *odd[:4])]
    for at, path in enumerate(ALL):
        is_about_one = tab.get(path).status_code == 400
        some = share([*of_calls, *names], 3, at) if is_about_one else of_calls[:1]
        for number, ids in enumerate(some):
            for form in ("", "json") if number % 4 == 0 else ("",):
                given = {"since": "7d", **ids, "format": "csv" if path == "/export" else form}
                wrong = found_wrong(tab.get(path, params=given))
                assert not wrong, (path, given, wrong)


def looked_at_by_pages(tab: TestClient) -> tuple[dict[str, set[str]], dict[str, dict[str, str]]]:
    """Return the parameters of its own that each page looks at, and some for which there is one."""
    sets = [*({"id": value} for value in (*KEYS.values(), "p")), ids_of(HOSTILE[0])]
    good: dict[str, dict[str, str]] = {}
    with noted() as looked_at:
        for path in ALL:
            is_about_one = tab.get(path).status_code == 400
            for ids in sets if is_about_one else sets[:1]:
                if tab.get(path, params={"since": "1d", **ids}).status_code == 200:
                    good.setdefault(path, ids)
            for more in ({"show": "newest"}, {"format": "json"}):
                tab.get(path, params={"since": "1d", **good.get(path, {}), **more})
    return {path: looked_at[path] - {*FILTERS, *EVERYWHERE} for path in ALL}, good


@pytest.mark.many
def test_no_value_of_any_parameter_breaks_a_page(viewer: Viewer, database: Database[Any]) -> None:
    """Each that a page looks at, found by asking it; the filters, too."""
    database["llm_calls"].insert_many([*HOSTILE[:3], {**odd_calls()[4], **KEYS}])
    database["llm_audit_processes"].insert_one(DEAD)
    tab = viewer()
    own, good = looked_at_by_pages(tab)
    for number, path in enumerate(ALL):
        some = {FILTERS[number % len(FILTERS)], FILTERS[-number % len(FILTERS)], "since", "until"}
        for at, name in enumerate(sorted(own[path] | some | {*EVERYWHERE[number:]})):
            for value in share(VALUES, 6, number + at):
                answer = tab.get(path, params={"since": "1d", **good.get(path, {}), name: value})
                assert answer.status_code < 500, (path, name, value[:80], answer.text[-500:])
                if "zz" in value or value.startswith("9999"):
                    assert not found_wrong(answer), (path, name, value)
    for more in (
        {"since": "1900-01-01", "by": "hour"},
        {"since": "1970-01-01", "until": "9999-12-31"},
    ):
        for path in (path for path in ALL if path not in NO_FORM):
            wrong = found_wrong(tab.get(path, params={**good.get(path, {}), **more}))
            assert not wrong, (path, more, wrong)
    _told_in_the_reference(own)


def _told_in_the_reference(own: dict[str, set[str]]) -> None:
    """See that the page about HTTP names each page of the viewer, and what is its alone."""
    told = (Path(__file__).parents[2] / "docs/reference/viewer-http.md").read_text()
    rows = dict(re.findall(r"^\| `(/.*?)` \|(.*)", told, re.MULTILINE))
    assert [*rows] == [*PAGES]
    for path, row in rows.items():
        lacking = {name for name in own[path] - {"id"} if f"`{name}`" not in row}
        assert not lacking, (path, lacking)


def test_ids_that_are_longer_than_addresses(viewer: Viewer, database: Database[Any]) -> None:
    """No recorder writes them; a link that would need one leads to where that is said."""
    long = call_of_text(0, "x" * 100_000) | {"messages": []}
    database["llm_calls"].insert_one(long)
    tab = viewer()
    for path in ALL:
        if path not in NO_FORM:
            answer = tab.get(path, params={"since": "7d", **ids_of(long)})
            page = read(answer.text)
            assert answer.status_code < 500, path
            assert not page.wrong, path
            assert max(map(len, page.links), default=0) < 16_000, path
    page = read(tab.get("/calls").text)
    assert "/help" in page.links
    assert "1,024 characters" in tab.get("/help").text


def theirs_and_ours(number: int) -> tuple[Call, Call]:
    """Return a call of somebody else's, whose every text is marked, and one of ours beside it."""
    shared = {"trace_id": "trace", "session_id": "session", "task_id": "task"}
    task = {"name": "n", "root_id": "task", "group_id": "group", "retries": 0, "attempt_id": "one"}
    theirs = call_of_text(number, f"{MARK}{number}")
    ours: Call = {
        "_id": call_of_text(number, "")["_id"],
        "created_at": theirs["created_at"],
        "status": "ERROR",
        "company_id": "mine",
        "user_id": "me",
        "task": task,
        "model": "m",
        "messages": [{"role": "user", "content": f"ours {number}"}],
    }
    if number % 2:
        theirs |= shared | {"task": theirs["task"] | {"root_id": "task", "group_id": "group"}}
    return theirs, ours | shared


@pytest.mark.many
def test_nothing_of_another_tenant_is_on_any_page(viewer: Viewer, database: Database[Any]) -> None:
    """Whatever is asked for, in every format: calls, media, processes, sums, what is near."""
    pairs = [theirs_and_ours(number) for number in range(6)]
    content = f"{MARK} in GridFS".encode()
    sha = sha256(content).hexdigest()
    gridfs.GridFSBucket(database).upload_from_stream_with_id(sha, sha, content)
    theirs = [call | {"media": [sha]} for call, _ in pairs]
    database["llm_calls"].insert_many([*theirs, *(call for _, call in pairs)])
    database["llm_audit_processes"].insert_one(DEAD | {"_id": MARK, "host": MARK, "service": MARK})
    tab = viewer(scope={"company_id": "mine"}, annotate=True)
    their_id, our_id = str(theirs[0]["_id"]), str(pairs[0][1]["_id"])
    names = [
        their_id,
        their_id[:30],
        f"{MARK}0",
        f"{MARK}1",
        "trace",
        "session",
        "task",
        "group",
        our_id,
    ]
    narrowing = [
        *({name: f"{MARK}0"} for name in ("company_id", "user_id", "trace_id", "model", "tags")),
        *(
            {"company_id": "mine", "not.user_id": "me"},
            {"not.company_id": "mine"},
            {"missing": "model"},
        ),
        *(
            {"user[$ne]": "x", "company_id[$ne]": "mine"},
            {"company_id": "[$ne]"},
            {"after": their_id},
        ),
        *({"q": MARK}, {"q": "GridFS"}, {"parent_call_id": their_id}, {"process_nonce": MARK}),
    ]
    ids = [{**dict.fromkeys((*OF_ONE, "b"), name), "sha256": sha} for name in names]
    ids += [
        {"a": our_id, "b": their_id},
        {"id": our_id, "go": "older"},
        {"call": our_id, "sha256": sha},
    ]
    their_ids = {str(call["_id"]) for call in theirs}
    seen = set()
    forms = ("", "json", "extended", "csv")
    for at, path in enumerate(ALL):
        is_about_one = tab.get(path).status_code == 400  # it looks at no filters, others at no ids
        looked_at, else_given = (ids, narrowing) if is_about_one else (narrowing, ids)
        for number, given in enumerate([*looked_at, *share(else_given, 6, at)]):
            for form in forms if path in {"/export", "/call/raw"} else [forms[number % 2]]:
                asked = {"since": "7d", **given, "format": form}
                answer = tab.get(path, params=asked)
                said = answer.text + str(answer.headers)
                for value in sorted(asked.values(), key=len, reverse=True):
                    said = re.sub(rf"{re.escape(value)}(?!\d)", "", said) if value else said
                found = [text for text in (MARK, *their_ids) if text in said]
                assert not found, (path, asked, answer.status_code)
                if "ours" in answer.text or our_id in answer.text:
                    seen.add(path)
    assert seen >= {"/calls", "/call", "/trace", "/task", "/session", "/export", "/diff"}
    for path in ("/delivery", "/process", "/part/delivery/report", "/part/overview/banner"):
        assert tab.get(path, params={"id": MARK}).status_code == 400, path
    _says_nothing_of(tab, their_id, our_id)
    assert not database["llm_calls"].count_documents({"scores.name": "planted"})


def _says_nothing_of(tab: TestClient, their_id: str, our_id: str) -> None:
    page = tab.get("/call", params={"id": our_id}).text
    token = re.findall(r'name="token" value="([^"]+)"', page)[0]
    form = {"token": token, "name": "planted", "value": "1"}
    same = {"sec-fetch-site": "same-origin"}
    for wanted in (their_id, their_id[:30], MARK):
        answer = tab.post("/call/say", params={"id": wanted}, data=form, headers=same)
        assert answer.status_code == 404, wanted


def test_a_user_who_may_only_read_sees_every_page(
    recording: Recording,
    viewer: Viewer,
    database: Database[Any],
    mongod: embedded.Mongod,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No question goes without a limit of time, and the password is on no page."""
    database["llm_calls"].insert_many(HOSTILE[:3])
    database.command("createUser", "reader", pwd="s3cr3t-pass", roles=["read"])
    source = f"authSource={database.name}"
    tab = viewer()
    recording(mongo_url=f"mongodb://reader:s3cr3t-pass@{mongod.address}/?{source}")
    commands: list[dict[str, Any]] = []
    command = LLMCallRepository._command

    def noting(self: LLMCallRepository, step: Any) -> dict[str, Any]:
        commands.append(command(self, step))
        return commands[-1]

    monkeypatch.setattr(LLMCallRepository, "_command", noting)
    for path in ALL:
        answer = tab.get(path, params={"since": "1d", **ids_of(HOSTILE[0])})
        assert answer.status_code < 500, (path, answer.text[-400:])
        assert "s3cr3t-pass" not in answer.text, path
        assert "not authorized" not in answer.text, path
    assert commands
    assert not [one for one in commands if not 0 < one.get("maxTimeMS", 0) <= 30_000]
    database.command("dropAllUsersFromDatabase")
