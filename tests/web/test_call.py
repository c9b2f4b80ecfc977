"""One call: its page, everything that was said, and that nothing recorded does anything."""

import ast
import base64
import gzip
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gridfs
import pytest
from odd_values import FIELDS, ODD
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer

import llm_audit
import llm_audit.web
from llm_audit import LLMLogger
from llm_audit.encoding.moved import reference_to
from llm_audit.providers import whole
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.web.drawing.markup import markdown
from llm_audit.wire.requests import TEXT

NOW = datetime.now(UTC).replace(microsecond=0)
PAGE_MAX_BYTES = 40_000  # gzipped
PAGE_MAX_NODES = 10_000
QUERIES_MAX = 3
DEEP = "[" * 10_000 + "]" * 10_000
SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


def called(number: int | str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"c{number}", "type": "function", "function": function}


RICH: dict[str, Any] = {
    "_id": "b-rich",
    "created_at": NOW - timedelta(minutes=3),
    "status": "SUCCESS",
    "call_type": "CHAT",
    "provider": "openai",
    "model": "gpt-4o",
    "endpoint": "https://api.openai.com/v1/chat/completions",
    "messages": [
        {"role": "system", "content": "You are helpful."},
        {"role": "user", "content": "Hi there"},
        {"role": "assistant", "content": "Hello, how can I help?"},
        {"role": "user", "content": "Is it warm in Bern?"},
        {
            "role": "assistant",
            "tool_calls": [
                called(1, "weather", '{"city":"Bern"}'),
                called(2, "news", '{"about":"Bern"}'),
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"clear"}'},
        {"role": "tool", "tool_call_id": "c2", "content": "no network", "is_error": True},
    ],
    "response_message": {
        "role": "assistant",
        "reasoning_content": "The tool says so.",
        "content": "It is **warm**. [More](https://www.example.org/x)",
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"url": "https://cited.example/", "title": "C"},
            }
        ],
    },
    "tools": [TOOL],
    "temperature": 0.2,
    "request_params": {"seed": 7},
    "usage": {"prompt_tokens": 1200, "odd": {"kept": 1}},
    "prompt_tokens": 1200,
    "cached_tokens": 800,
    "completion_tokens": 210,
    "estimated_cost": 0.0041,
    "cost_source": "the price list",
    "cost_details": {"input": 0.002, "output": 0.0021},
    "latency_ms": 2300.0,
    "time_to_first_token_ms": 200.0,
    "user_id": "u/1&x",
    "trace_id": "t 1",
    "session_id": "s/<1>",
    "task_id": "task-1",
    "task": {"name": "shop.answer", "retries": 1, "attempt_id": "a2", "queue": "slow"},
    "attempts": [{"status": 503, "duration_ms": 120.0}, {"status": 200, "duration_ms": 900.0}],
    "scores": [{"name": "helpful", "value": True, "source": "user", "comment": "thanks"}],
    "a_later_version": {"knows": "more of it"},
}
LOST: dict[str, Any] = {
    **{name: RICH[name] for name in ("created_at", "model", "messages", "task_id", "tools")},
    "_id": "a-lost",
    "status": "ABANDONED",
    "ended_by": "worker_lost",
    "error_type": "WorkerLostError",
    "error_message": "signal 9 (SIGKILL)",
    "error_traceback": "Traceback\n  File x",
    "task": {"name": "shop.answer", "retries": 0, "attempt_id": "a1"},
}


@pytest.fixture
def tab(viewer: Viewer, database: Database[Any]) -> TestClient:
    database["llm_calls"].insert_many([RICH, LOST])
    return viewer()


def shown(tab: TestClient, address: str, status: int = 200) -> str:
    answer = tab.get(address)
    assert answer.status_code == status, (address, answer.text)
    return answer.text


def text_of(html: str) -> str:
    """Return what is read of a page, in one line."""
    main = html.partition('<main id="main">')[2] or html
    return " ".join(unescape(re.sub("<[^>]*>", " ", main)).split())


def links_in(html: str) -> list[str]:
    return [unescape(link) for link in re.findall('(?:href|src)="([^"]*)"', html)]


def test_it_says_what_the_call_was_and_how_it_ended(tab: TestClient) -> None:
    rich, lost = text_of(shown(tab, "/call?id=b-rich")), text_of(shown(tab, "/call?id=a-lost"))
    assert "To gpt-4o of openai, for user u/1&x , made in task answer (attempt 2 of 2)" in rich
    assert "It succeeded after 2.3 s." in rich
    assert "(attempt 1 of 2)" in lost
    assert "Its process was killed (SIGKILL, out of memory)" in lost
    for text in ("signal 9", "WorkerLostError", "Traceback"):
        assert text in lost
    for text in (
        *("3 earlier messages", "Is it warm in Bern?"),
        *("weather tool call", '{"sky": "clear"}', "failed no network", "Reasoning, 17 characters"),
        *("C cited.example", "1 tool offered", "seed 7"),
        *("800 cached", "100 tokens/s", "$0.004100 the price list", "input $0.002000", "HTTP"),
        *("helpful True user", "thanks", '{"kept": 1}', "a_later_version", "queue slow"),
    ):
        assert text in rich, text
    page = shown(tab, "/call?id=b-rich")
    for page_name, value in (("user", "u/1&x"), ("session", "s/<1>"), ("task", "task-1")):
        assert f"/{page_name}?id={quote(value, safe='').replace('%20', '+')}" in page
    assert "/trace?id=t+1&amp;at=b-rich" in page
    assert "<strong>" not in page
    assert "<strong>warm</strong>" in shown(tab, "/call?id=b-rich&as=markdown")
    assert shown(tab, "/call?id=b-rich&as=html", 400)


def test_the_calls_beside_it_are_those_of_its_list(tab: TestClient) -> None:
    """Newer and older go along the filters that the call was opened with; the last one says so."""
    older = tab.get("/call?id=b-rich&go=older&task_id=task-1&tz=UTC")
    assert older.status_code == 303
    assert older.headers["location"] == "/call?task_id=task-1&tz=UTC&id=a-lost"
    assert tab.get("/call?id=a-lost&go=newer").headers["location"] == "/call?id=b-rich"
    end = tab.get("/call?id=b-rich&go=older&status=SUCCESS").headers["location"]
    assert "This is the oldest of the list" in text_of(shown(tab, end))


def test_everything_that_was_said_can_be_read_on(tab: TestClient, database: Database[Any]) -> None:
    """However much it is: what a page leaves out is counted, and the next link leads to it."""
    texts = [f"{n}:" + "wordy " * (20_000 if n == 3 else 300) for n in range(300)]
    messages = [{"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(texts)]
    database["llm_calls"].insert_one({"_id": "long", "status": "SUCCESS", "messages": messages})
    page = shown(tab, "/call?id=long")
    assert "more parts" in page
    read, address = "", "/call/said?id=long"
    for _ in range(40):
        html = shown(tab, address)
        read += "".join(
            unescape(t) for t in re.findall('<div class="text">(.*?)</div>', html, re.DOTALL)
        )
        following = re.search('href="([^"]+)" rel="next"', html)
        if not following:
            break
        address = unescape(following[1])
    assert read == "".join(texts)


def test_however_much_is_in_a_call_its_pages_have_bounds(
    tab: TestClient, database: Database[Any]
) -> None:
    """Depth, thousands of tool calls, lists in Markdown, 16 megabytes, and next to nothing."""
    nested: dict[str, Any] = {}
    for _ in range(90):
        nested = {"x": nested}
    many = [called(n, "f", f'{{"n":{n}}}') for n in range(3_000)]
    results = [{"role": "tool", "tool_call_id": f"c{n}", "content": f"r{n}"} for n in range(3_000)]
    documents: list[dict[str, Any]] = [
        {
            "_id": "lists",
            "status": "SUCCESS",
            "messages": [{"role": "user", "content": "- a\n" * 3_000} for _ in range(9)],
            "response_message": {"role": "assistant", "content": "*a* " * 11_000},
        },
        {"_id": "bare", "status": "PENDING"},
        {"_id": "none"},
        {
            "_id": "nested",
            "status": "SUCCESS",
            "messages": [{"role": "user", "content": f"{DEEP} \U000e0068\u202e"}],
            "metadata": nested,
            "odd": nested,
        },
        {
            "_id": "many",
            "status": "SUCCESS",
            "messages": [{"role": "assistant", "tool_calls": many}, *results],
            "tools": [TOOL] * 3_000,
            "tags": [f"tag {n}" for n in range(3_000)],
            "odd": [*range(3_000)],
            "scores": [{"name": f"n{n}", "value": n} for n in range(3_000)],
        },
        {
            "_id": "huge",
            "status": "ERROR",
            "error_message": "m" * 2**20,
            "error_traceback": "t" * 2**20,
            "messages": [{"role": "user", "content": "word " * 2_700_000}],
        },
    ]
    database["llm_calls"].insert_many(documents)
    for document in documents:
        wanted = document["_id"]
        for address in (
            f"/call?id={wanted}{'&as=markdown' if wanted == 'lists' else ''}",
            f"/call/said?id={wanted}",
            f"/call/raw?id={wanted}",
        ):
            html = shown(tab, address)
            assert len(gzip.compress(html.encode(), 5)) <= PAGE_MAX_BYTES, address
            assert len(re.findall("<[a-z]", html)) <= PAGE_MAX_NODES, address
    assert "2 invisible characters" in text_of(shown(tab, "/call?id=nested"))


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
SVG = f"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>{' ' * 80}</svg>".encode()


def test_media_are_shown_by_what_their_bytes_are(tab: TestClient, database: Database[Any]) -> None:
    """And only if the call names them; whatever may do something is a file to keep."""

    def url(kind: str, content: bytes) -> dict[str, Any]:
        text = f"data:{kind};base64,{base64.b64encode(content).decode()}"
        return {"type": "image_url", "image_url": {"url": text}}

    contents = {
        "image/png": PNG,
        "image/jpeg": b"\xff\xd8\xff" + bytes(100),
        "image/gif": b"GIF89a" + bytes(100),
        "image/webp": b"RIFF____WEBP" + bytes(100),
        "audio/wav": b"RIFF____WAVE" + bytes(100),
    }
    others = {"image/svg+xml": SVG, "text/html": SVG, "application/pdf": b"%PDF-1.7" + bytes(99)}
    bucket = gridfs.GridFSBucket(database)
    stored = base64.b64encode(PNG + b"stored")
    for content in (SVG, PNG, stored, b"of another call"):
        bucket.upload_from_stream_with_id(sha256(content).hexdigest(), "", content)
    named = [sha256(content).hexdigest() for content in (SVG, PNG, stored)]
    references = [
        reference_to(named[0], len(SVG), "bytes", None),
        reference_to(named[1], len(PNG), "bytes", None),
        reference_to(named[2], len(stored), "str", stored[:80].decode()),
    ]
    lying = url("image/png", SVG)
    embedded = [url(kind, content) for kind, content in {**contents, **others}.items()]
    blocks = [*embedded, lying, *({"type": "image", "source": one} for one in references)]
    database["llm_calls"].insert_one(
        {
            "_id": "m&1",
            "schema_version": 2,
            "status": "SUCCESS",
            "messages": [{"role": "user", "content": blocks}],
            "media": [*named, "f" * 64],
        }
    )
    page = shown(tab, "/call?id=m%261")
    links = {link for link in links_in(page) if link.startswith("/media?")}
    answers = [tab.get(link) for link in links]
    kinds: dict[str, set[bytes]] = {}
    for answer in answers:
        if answer.status_code == 404:  # the one that is named and is not there
            continue
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["x-content-type-options"] == "nosniff"
        is_file = answer.headers["content-disposition"].startswith("attachment")
        kind = answer.headers["content-type"]
        assert is_file is (kind == "application/octet-stream")
        kinds.setdefault(kind, set()).add(answer.content)
    assert kinds.pop("application/octet-stream") == {*others.values()}
    assert kinds.pop("image/png") == {PNG, PNG + b"stored"}
    assert kinds == {kind: {content} for kind, content in contents.items() if content != PNG}
    images = re.findall('<img src="([^"]+)"', page)
    assert {tab.get(unescape(link)).headers["content-type"] for link in images} <= {
        *contents,
        "application/octet-stream",  # of what the document alone calls an image
    }
    for query, status in (
        (f"call=m%261&sha256={sha256(b'of another call').hexdigest()}", 404),
        (f"call=b-rich&sha256={named[1]}", 404),
        (f"call=none&sha256={named[1]}", 404),
        (f"call=m%261&sha256={'f' * 64}", 404),
        *(("call=m%261&sha256=../x", 400), ("call=m%261", 400), (f"sha256={named[1]}", 400)),
    ):
        assert tab.get(f"/media?{query}").status_code == status, query
    raw = text_of(shown(tab, "/call/raw?id=m%261"))
    assert "In GridFS: 3 contents" in raw
    assert "/messages/0/content/9/source bytes" in raw


def test_a_document_is_shown_whole_piece_by_piece(tab: TestClient, database: Database[Any]) -> None:
    """What is folded leads on, until every text of it has been seen; large or deep as it may be."""
    deep: Any = "the innermost"
    for number in range(60):
        deep = {f"level/{number}~": deep, "number": number}
    document = {
        "_id": "d/1",
        "status": "SUCCESS",
        "metadata": deep,
        "odd": [f"item {n}" for n in range(5_000)],
        "messages": [{"role": "user", "content": "".join(f"word{n} " for n in range(20_000))}],
        "encoding_notes": [f"note {n}" for n in range(300)],
    }
    database["llm_calls"].insert_one(document)
    waiting, seen, read = ["/call/raw?id=d%2F1"], set[str](), ""
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        html = shown(tab, address)
        assert len(gzip.compress(html.encode(), 5)) <= PAGE_MAX_BYTES, address
        assert len(re.findall("<[a-z]", html)) <= PAGE_MAX_NODES, address
        stored = html.partition('<pre class="stored">')[2]
        read += unescape(re.sub("<[^>]*>", "", stored.partition("</pre>")[0]))
        waiting += [link for link in links_in(stored) if "at=" in link and "format=" not in link]
    for text in (
        *("the innermost", "item 0", "item 2500", "item 4999", "note 299", "word0 ", "word19999 "),
        "level/59~",
    ):
        assert text in read, text
    assert 20 < len(seen) < 80
    assert shown(tab, "/call/raw?id=d%2F1&at=/nothing", 400)
    whole = tab.get("/call/raw?id=d%2F1&format=extended")
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.json() == document


def test_a_call_can_be_copied_and_never_with_a_key(
    tab: TestClient, database: Database[Any], tmp_path: Path
) -> None:
    """The shell and Python take what is copied as it is meant, whatever was recorded."""
    odd = 'it\'s $(touch x) `y` "q" \n\u202e \\ é'
    database["llm_calls"].insert_one(
        {
            "_id": odd,
            "status": "SUCCESS",
            "provider": "openai",
            "endpoint": "https://api.example/v1/chat/completions?x='$(touch x)'",
            "model": odd,
            "messages": [{"role": "user", "content": odd}],
            "request_params": {
                "api_key": "sk-SECRET",
                "extra_headers": {"Authorization": "SECRET"},
            },
            "redacted": {"email": 1},
        }
    )
    page = shown(tab, f"/call/raw?id={quote(odd, safe='')}")
    shown_there = page.partition("<footer")[0]
    curl, python, mongosh = (
        unescape(t) for t in re.findall('<pre class="copy">(.*?)</pre>', shown_there, re.DOTALL)
    )
    assert "SECRET" not in curl
    assert "What was redacted is not known" in page
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    fake.chmod(0o755)
    said = subprocess.run(
        ["sh", "-c", curl],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "OPENAI_API_KEY": "k"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    assert said[0].startswith("https://api.example/v1/chat/completions?x=")
    assert json.loads(said[-2])["messages"] == [{"role": "user", "content": odd}]
    assert "authorization: Bearer k" in said
    assert not (tmp_path / "x").exists()
    asked = re.search(r"calls.get\((.*), with_media", python)
    assert asked
    assert ast.literal_eval(asked[1]) == odd
    compile(python, "copied", "exec")
    assert json.loads(mongosh.partition("{_id: ")[2].removesuffix("})")) == odd

    text = "caf\xe9 \\xe9 'q' \u202e\n$(touch x)"  # sent as a body that is no JSON
    database["llm_calls"].insert_one(
        {
            "_id": "text",
            "status": "SUCCESS",
            "endpoint": "https://api.example/v1/chat/completions",
            "request_params": {whole.OURS: {TEXT: text}},
        }
    )
    page = shown(tab, "/call/raw?id=text")
    curl = unescape(re.findall('<pre class="copy">(.*?)</pre>', page, re.DOTALL)[0])
    path = f"{tmp_path}:/usr/bin:/bin"
    said = subprocess.run(
        ["bash", "-c", curl],
        cwd=tmp_path,
        env={"PATH": path, "LC_ALL": "C.UTF-8"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    assert said[-2] == text
    assert not (tmp_path / "x").exists()


def test_two_calls_beside_each_other(tab: TestClient, database: Database[Any]) -> None:
    """What differs is marked on its side, in parameters, parts, words; the rest is counted."""
    other = {
        **RICH,
        "_id": "c-other",
        "temperature": 0.9,
        "request_params": {},
        "estimated_cost": 0.0051,
        "latency_ms": 1_300.0,
        "messages": [
            *RICH["messages"][:3],
            {"role": "user", "content": "Is it cold in Bern?"},
            *RICH["messages"][4:],
        ],
        "response_message": {"role": "assistant", "content": "It is cold."},
    }
    many = [{"role": "user", "content": f"{n} {'x y ' * 2_000}"} for n in range(400)]
    database["llm_calls"].insert_many(
        [
            other,
            {"_id": "many1", "status": "SUCCESS", "messages": many},
            {"_id": "many2", "status": "SUCCESS", "messages": [*many[::-1], *many]},
            {
                "_id": "odd",
                "status": SCRIPT,
                "messages": SCRIPT,
                "tools": [SCRIPT],
                "metadata": DEEP,
            },
        ]
    )
    html = shown(tab, "/diff?a=b-rich&b=c-other")
    page = text_of(html)
    for text in (
        *("temperature 0.2 0.9", "request_params.seed 7 \u2013", "Took 2.3 s 1.3 s \u22121.0 s"),
        *("Cost $0.004100 $0.005100 +$0.001000", "3 parts alike", "Is it warm in Bern?"),
    ):
        assert text in page, text
    assert "Is it <del>warm</del> in Bern?" in html
    assert "Is it <ins>cold</ins> in Bern?" in html
    data = tab.get("/diff?a=b-rich&b=c-other&format=json").json()
    assert {each["name"] for each in data["changed"]} == {"temperature", "request_params.seed"}
    same = text_of(shown(tab, "/diff?a=b-rich&b=b-rich"))
    assert "Parameters" in same
    assert not re.search("<del>|<ins>", shown(tab, "/diff?a=b-rich&b=b-rich"))
    for one, another in (("many1", "many2"), ("many2", "odd"), ("odd", "b-rich")):
        html = shown(tab, f"/diff?a={one}&b={another}")
        assert len(gzip.compress(html.encode(), 5)) <= PAGE_MAX_BYTES
        assert len(re.findall("<[a-z]", html)) <= PAGE_MAX_NODES
        assert "<script>" not in html
    assert not re.search("<ins>|<del>", shown(tab, "/diff?a=odd&b=b-rich").partition("Request")[2])
    assert "that differ and are not shown" in shown(tab, "/diff?a=many1&b=many2")
    offered = shown(tab, "/diff?a=b-rich")
    assert {link for link in links_in(offered) if "&b=" in link} == {
        "/diff?a=b-rich&b=a-lost",
        "/diff?a=b-rich&b=c-other",
    }
    for address, status in (("/diff", 400), ("/diff?a=none", 404), ("/diff?a=odd&b=none", 404)):
        shown(tab, address, status)


OURS = {"sec-fetch-site": "same-origin"}


def test_what_is_said_of_a_call_is_recorded_if_the_viewer_may(
    viewer: Viewer, database: Database[Any]
) -> None:
    """Only by a form of its page, in the browser that has it, of a call that it may see."""
    call_ids = [LLMLogger.start(company_id=one, model="m", messages=[]) for one in ("c1", "c2")]
    for call_id in call_ids:
        LLMLogger.complete(call_id, response_message={"content": "ok"})
    llm_audit.flush()
    tab = viewer(scope={"company_id": "c1"}, annotate=True)
    page, say = f"/call?id={call_ids[0]}", f"/call/say?id={call_ids[0]}"
    token = re.search('name="token" value="([^"]+)"', shown(tab, page))
    assert token
    cookie = tab.get(page).headers["set-cookie"]
    assert cookie == f"llm_audit_form={token[1]}; Path=/; HttpOnly; SameSite=Strict"
    ours = {"token": token[1]}
    score = {"name": "helpful", "value": "yes", "source": SCRIPT, "comment": "très bien"}

    for given, headers, status in (
        (score | ours, {}, 403),
        (score | ours, {"sec-fetch-site": "cross-site"}, 403),
        (score | ours, {"origin": "https://evil.test"}, 403),
        (score, OURS, 400),
        (score | {"token": "x" * 43}, OURS, 400),
        (score | ours | {"value": " "}, OURS, 400),
        (score | ours | {"comment": "x" * 40_000}, OURS, 400),
        ({"tags": " , "} | ours, OURS, 400),
    ):
        assert tab.post(say, data=given, headers=headers).status_code == status, given
    other = f"/call/say?id={call_ids[1]}"
    assert tab.post(other, data=score | ours, headers=OURS).status_code == 404
    assert viewer().post(say, data=score | ours, headers=OURS).status_code == 405
    assert 'name="token"' not in shown(viewer(), page)
    llm_audit.flush()
    stored = database["llm_calls"]
    assert not stored.find_one({"$or": [{"scores.0": {"$exists": True}}, {"tags": "golden"}]})

    done = tab.post(say, data=score | ours, headers=OURS)
    tab.post(say, data={"name": "tone", "value": "0.5"} | ours, headers=OURS)
    tab.post(say, data={"tags": "golden, set"} | ours, headers=OURS)
    llm_audit.flush()

    assert (done.status_code, done.headers["location"]) == (303, f"{page}&said=1")
    [call, untouched] = stored.find(sort=[("_id", 1)])
    said = {one["name"]: (one["value"], one.get("source")) for one in call["scores"]}
    assert said == {"helpful": (True, SCRIPT), "tone": (0.5, None)}
    assert call["tags"] == ["golden", "set"]
    assert not untouched.get("scores")
    assert "très bien" in text_of(shown(tab, page))


def test_no_type_of_a_field_spoils_a_page(tab: TestClient, database: Database[Any]) -> None:
    """Whatever an import, or somebody's own insert, has put into which field."""
    names = [field for field in FIELDS if "." not in field]
    documents: list[dict[str, Any]] = [
        {"_id": f"mixed{n}"} | {name: ODD[(n + m) % len(ODD)] for m, name in enumerate(names)}
        for n in range(len(ODD))
    ]
    documents += [{"_id": f"alone{field}", field: "x"} for field in names]
    database["llm_calls"].insert_many(documents)
    for document in documents:
        for address in ("/call?id={}", "/call/raw?id={}", "/diff?a={}&b=b-rich"):
            shown(tab, address.format(document["_id"]))


def test_a_page_asks_three_questions_at_the_most(
    tab: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    answer = LLMCallRepository._answer

    async def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return await answer(*arguments)

    monkeypatch.setattr(LLMCallRepository, "_answer", counted)
    for address in (
        *("/call?id=b-rich", "/call/raw?id=b-rich", "/call/said?id=b-rich", "/diff?a=b-rich"),
        *("/diff?a=b-rich&b=a-lost", "/call?id=a-lost&go=newer"),
    ):
        asked.clear()
        assert tab.get(address).status_code in (200, 303)
        assert 0 < len(asked) <= QUERIES_MAX, address


def test_a_long_answer_is_drawn_as_markdown_whole(tab: TestClient, database: Database[Any]) -> None:
    """Where it is cut as a text, and where it is too long, as a text with the way to the rest."""
    for size, is_drawn in ((30_000, True), (47_000, True), (60_000, False)):
        text = "- *item* of a list\n" * (size // 19)
        message = {"role": "assistant", "content": text}
        document = {"_id": f"md{size}", "status": "SUCCESS", "response_message": message}
        database["llm_calls"].insert_one(document)
        html = shown(tab, f"/call?id=md{size}&as=markdown")
        assert html.count("<em>item</em>") == (size // 19 if is_drawn else 0)
        assert ("more characters" in html) is not is_drawn
        assert len(gzip.compress(html.encode(), 5)) <= PAGE_MAX_BYTES


def test_markdown_of_a_stranger_is_inert() -> None:
    """Nothing asks another host, runs, or leads to a page of ours; what is left out is nothing."""
    for text in (
        *(
            "![x](https://evil.test/?q=1)",
            "<img src=https://evil.test/>",
            f"{SCRIPT}",
            "[a](//e.test)",
        ),
        *(
            "[a](javascript:alert(1))",
            "[a](data:text/html,x)",
            "[a](/call?id=1)",
            "[a](JAVASCRIPT:x)",
        ),
        *(
            "<a href='javascript:x'>y</a>",
            "[a]: javascript:x\n\n[a]",
            "<javascript:alert(1)>",
            "[a](vbscript:x)",
        ),
        *(
            "```html\n<script>\n```",
            "<svg onload=x>",
            "[x](https://a.test 'onclick=1')",
            "<div hx-get=/x>",
        ),
        *(
            "[a](\x01javascript:alert(1))",
            "[a](java\nscript:x)",
            "[](https://a.test)",
            "&lt;script&gt;",
        ),
    ):
        made = str(markdown(text))
        assert not re.search(
            r"<(script|img|svg|div|iframe)|<[^>]*\s(on\w+|hx-\w+|style|title|id)=", made
        ), made
        for link in re.findall("<a ([^>]*)>", made):
            assert re.fullmatch('(href="https?://[^"]+" )?rel="noopener noreferrer nofollow"', link)
    assert "(a.test)" in str(markdown("[docs](https://a.test/x)"))
    assert "&lt;U+202E&gt;" in str(markdown("a\u202eb"))
    assert markdown("> " * 5_000 + "x") is None
    assert markdown("x" * 70_000) is None


def test_markup_is_made_in_one_place() -> None:
    """Whoever else would call a text markup lets a stranger's through."""
    root = Path(llm_audit.web.__file__).parent
    makes = [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if path.suffix in (".py", ".html")
        and re.search(
            r"Markup\(|\|\s*safe\b|autoescape (?!=True)|autoescape=False", path.read_text()
        )
    ]
    assert makes == ["drawing/markup.py"]


def test_a_player_gets_the_range_that_it_asks_for(tab: TestClient, database: Database[Any]) -> None:
    """One at a time, uncompressed; what is no range of it is told how long it is."""
    sound = b"RIFF____WAVE" + bytes(range(256)) * 400
    hashed = sha256(sound).hexdigest()
    gridfs.GridFSBucket(database).upload_from_stream_with_id(hashed, "", sound)
    block = {"type": "input_audio", "source": reference_to(hashed, len(sound), "bytes", None)}
    said = {"schema_version": 2, "messages": [{"role": "user", "content": [block]}]}
    database["llm_calls"].insert_one({"_id": "w", "status": "SUCCESS", "media": [hashed], **said})
    address, whole = f"/media?call=w&sha256={hashed}", len(sound)
    for wanted, start, end in (
        ("bytes=0-", 0, whole),
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        (f"bytes={whole - 1}-", whole - 1, whole),
        (f"bytes=5-{10**17}", 5, whole),
        ("bytes=-7", whole - 7, whole),
        (f"bytes=-{10**17}", 0, whole),
    ):
        answer = tab.get(address, headers={"range": wanted, "accept-encoding": "gzip"})
        assert answer.status_code == 206, wanted
        assert answer.content == sound[start:end], wanted
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{whole}"
        assert answer.headers["content-length"] == str(end - start)
        assert "content-encoding" not in answer.headers
    for wanted in (f"bytes={whole}-", "bytes=9-8", "bytes=-0"):
        answer = tab.get(address, headers={"range": wanted})
        assert (answer.status_code, answer.content) == (416, b""), wanted
        assert answer.headers["content-range"] == f"bytes */{whole}"
    for wanted in ("bytes=0-1,5-6", "bytes=-", "lines=0-1", "bytes=a-b", "", f"bytes=0-{10**18}"):
        answer = tab.get(address, headers={"range": wanted})
        assert (answer.status_code, answer.content) == (200, sound), wanted
        assert answer.headers["accept-ranges"] == "bytes"
