"""Tasks, a task and a workflow: every state there is, and numbers that lead to their calls."""

import gzip
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import quote_plus

import pytest
from made_up_calls import FAILURES, Call
from made_up_tasks import OUTSIDE, Tasks, every_kind, large_group
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import Viewer

from llm_audit.display.attempts import CAUSES
from llm_audit.queries.answers.tasks import ENDS_OF_ATTEMPTS
from llm_audit.queries.repository import LLMCallRepository
from llm_audit.web.routes import PAGES, PARTS

NOW = datetime.now(UTC).replace(microsecond=0)
PAGE_MAX_BYTES = 40_000  # gzipped
PAGE_MAX_NODES = 10_000
QUERIES_MAX = 3


@pytest.fixture
def stored(database: Database[Any]) -> list[Call]:
    calls = every_kind(NOW - timedelta(minutes=30))
    database["llm_calls"].insert_many(calls)
    return calls


@pytest.fixture
def tab(viewer: Viewer, stored: list[Call]) -> TestClient:  # noqa: ARG001  (what is in it)
    return viewer()


def shown(tab: TestClient, address: str, status: int = 200) -> str:
    answer = tab.get(address)
    assert answer.status_code == status, (address, answer.text)
    return answer.text


def text_of(html: str) -> str:
    """Return what is read of a page, in one line."""
    main = html.partition('<main id="main">')[2] or html
    return " ".join(unescape(re.sub("<[^>]*>", " ", main)).split())


def numbers_with_links(html: str) -> Iterator[tuple[int, str]]:
    """Yield the numbers on a page that lead to calls."""
    for link, inner in re.findall(
        r'<a [^>]*href="(/calls\?[^"]+)"[^>]*>(.*?)</a>', html, re.DOTALL
    ):
        said = text_of(inner)
        if number := re.match(r"([\d,]+)(?! %|\.)\b", said):
            yield int(number[1].replace(",", "")), unescape(link)


def test_a_number_leads_to_exactly_its_calls(
    tab: TestClient, stored: list[Call], database: Database[Any]
) -> None:
    """On every page of tasks, also within a time that is not the usual one."""
    bare = [{**call, "_id": f"{call['_id']}+"} for call in stored if call["status"] == "ERROR"]
    for call in bare:
        del call["ended_by"]
    database["llm_calls"].insert_many(bare)
    counted = 0
    pages = ("/tasks", "/tasks?since=7d", f"/tasks?until={quote_plus(NOW.isoformat())}")
    others = ("/tasks?show=newest", "/tasks?show=workers", "/task?id=five", "/task?id=running")
    for address in (*pages, *others, "/workflow?id=root", "/part/tasks/workers"):
        for number, link in numbers_with_links(shown(tab, address)):
            found = tab.get(f"{link}&format=json&limit=500").json()["calls"]
            assert len(found) == number, (address, link)
            counted += 1
    assert counted > 60


def test_every_link_leads_somewhere(tab: TestClient) -> None:
    """One of each kind, to each page that there is."""
    kinds: dict[tuple[str, ...], str] = {}
    for address in ("/tasks", "/tasks?show=newest", "/task?id=header+1", "/workflow?id=root"):
        for link in re.findall(r'(?:href|hx-get)="(/[^"]*)"', shown(tab, address)):
            path, _, query = unescape(link).partition("?")
            kinds[(path, *re.findall(r"(?:^|&)([^=]+)=", query))] = unescape(link)
    linked = {path for path, *_ in kinds}
    assert {"/calls", "/call", "/trace", "/workflow", "/task", "/costs"} <= linked
    for (path, *_), link in kinds.items():
        if path in PAGES or path in PARTS:
            assert tab.get(link).status_code == 200, link


def test_tasks_by_name(tab: TestClient, stored: list[Call]) -> None:
    """What ended calls is said by cause, and what retries paid stands beside the cost."""
    page = text_of(shown(tab, "/tasks"))
    for cause in OUTSIDE:
        assert cause.replace("_", " ") in page or "and " in page
    data = tab.get("/tasks?format=json").json()
    counts = {row["task_name"]: row["calls"] for row in data["by_name"]}
    names = [call["task"]["name"] for call in stored]
    assert counts == {name: names.count(name) for name in names}
    [paid] = [row for row in data["paid_again"] if row["task_name"] == "shop.tasks.answer"]
    assert paid["attempts"] >= 7

    summary = tab.get("/tasks?show=workers&format=json").json()["summary"]
    assert {pair["worker"] for pair in summary["pairs"]} == {"celery@a", "celery@b", None}
    assert "no task made a call" in text_of(shown(tab, "/tasks?task_name=none")).lower()


def test_newest_tasks_come_in_pages(tab: TestClient, stored: list[Call]) -> None:
    found: list[str] = []
    address = "/tasks?show=newest&limit=4"
    while address:
        data = tab.get(f"{address}&format=json").json()
        found += [task["task_id"] for task in data["tasks"]]
        address = (data["next"] or "").replace("&format=json", "")
    first = {call["task_id"]: call["_id"] for call in stored[::-1]}
    assert found == sorted(first, key=first.__getitem__, reverse=True)
    for task_id in found:
        assert f'href="/task?id={quote_plus(task_id)}"' in shown(tab, "/tasks?show=newest")


def test_every_cause_of_an_end_is_told_in_a_sentence(tab: TestClient) -> None:
    assert set(CAUSES) == ENDS_OF_ATTEMPTS
    for cause, status in OUTSIDE.items():
        html = shown(tab, f"/task?id={cause}")
        page = text_of(html)
        assert CAUSES[cause] in page, cause
        assert "1 attempt" in page
        assert f'href="#{status}"' in html
        sample = re.search(r'<a href="([^"]+)">The call</a>', html)
        assert sample
        assert tab.get(sample[1]).status_code == 200


def test_attempts_are_tabs(tab: TestClient, stored: list[Call]) -> None:
    """Each has its own calls, says what came next, and is set against another one."""
    html = shown(tab, "/task?id=five")
    assert "Attempt 5 of 5, retry 4. Its last call succeeded; 1 of 3 had failed." in text_of(html)
    tabs = re.search('<nav class="tabs".*?</nav>', html, re.DOTALL)
    assert tabs
    for number, link in enumerate(re.findall('href="(/[^"]+)"', tabs[0]), start=1):
        page = shown(tab, unescape(link))
        assert f"Attempt {number} of 5" in text_of(page)
        if number < 5:
            assert "Celery retried the task." in text_of(page)
            assert "Its last call failed: ERROR, ended by response." in text_of(page)
        calls = [call for call in stored if call["task"]["attempt_id"] == f"five run {number - 1}"]
        section = page.partition("<section")[2].partition("</section>")[0]
        ids = re.findall(r'<td class="fit"><a href="/call\?id=([^"]+)"><time', section)
        assert ids == [call["_id"] for call in calls]
    chosen = shown(tab, "/task?id=five&attempt=4&against=2")
    pairs = re.findall(r'href="/diff\?a=([^&]+)&amp;b=([^"]+)"', chosen)
    of = {call["_id"]: call["task"]["retries"] for call in stored}
    assert [(of[a], of[b]) for a, b in pairs] == [(1, 3), (1, 3)]
    assert "Attempt 1 Attempt 2" in text_of(shown(tab, "/task?id=five&attempt=1"))
    task = tab.get("/task?id=five&format=json").json()["task"]
    later = [call for call in stored if call["task_id"] == "five" and call["task"]["retries"]]
    assert task["paid_again"]["calls"] == len(later)
    assert task["paid_again"]["estimated_cost"] == pytest.approx(
        sum(call.get("estimated_cost", 0) for call in later)
    )


def test_a_redelivery_a_running_task_and_one_whose_first_attempts_are_not_known(
    tab: TestClient,
) -> None:
    lost = text_of(shown(tab, "/task?id=redelivered&attempt=1"))
    assert f"{CAUSES['worker_lost']} The broker delivered its message again." in lost
    assert "Attempt 2 of 2, redelivered." in text_of(shown(tab, "/task?id=redelivered"))
    running = text_of(shown(tab, "/task?id=running"))
    assert "It runs: 1 call of it still open." in running
    assert " now " in running
    assert re.search(r"From first to last call > ?[2-5]\dm", running)  # as long as tests have run
    late = text_of(shown(tab, "/task?id=late"))
    assert "Attempt 3 of 3, retry 2." in late
    assert "some attempts made no call: nothing is known of them" in late
    eager = text_of(shown(tab, "/task?id=eager"))
    assert "in place (eager)" in eager
    assert "runs in answer one" in eager
    assert shown(tab, "/task?id=late&attempt=1", 400)
    assert shown(tab, "/task?id=five&attempt=6", 400)


def test_a_workflow_is_a_tree(tab: TestClient) -> None:
    """By the id of its root, its trace or any task in it; a silent parent has a row as well."""
    for workflow_id in ("root", "trace+of+root", "header+1", "body"):
        rows = re.findall(
            r'<td class="name in(\d+)">(.*?)\n', shown(tab, f"/workflow?id={workflow_id}")
        )
        tree = [(int(level), text_of(cell)) for level, cell in rows]
        assert tree == [
            (0, "plan root"),
            (1, "group of 3 tasks headers"),
            (2, "read header 0"),
            (2, "read header 1"),
            (2, "read header 2"),
            (1, "merge body of the chord body"),
            (2, "answer after"),
        ]
    group = text_of(shown(tab, "/workflow?id=headers"))
    assert "4 5 attempts, 1 retried or redelivered" in group
    assert "started by silent parent" in text_of(shown(tab, "/workflow?id=silent+root"))
    alone = shown(tab, "/task?id=member+1")  # of a group that no task has started
    assert '<a href="/workflow?id=trace+of+two">its workflow</a>' in alone
    assert "group of 2 tasks two" in text_of(shown(tab, "/workflow?id=trace+of+two"))
    around = text_of(shown(tab, "/task?id=header+1")).partition("Around it")[2]
    assert "started by plan root" in around
    assert "started merge body" in around


def test_a_group_of_a_thousand_tasks(
    viewer: Viewer, database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is worth a look has a row, the rest is summed up; all of them are a few pages away."""
    calls = large_group(NOW - timedelta(hours=2))
    database["llm_calls"].insert_many(calls)
    tab = viewer()
    asked = []
    answer = LLMCallRepository._answer

    async def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return await answer(*arguments)

    monkeypatch.setattr(LLMCallRepository, "_answer", counted)

    def budgeted(address: str) -> str:
        asked.clear()
        html = shown(tab, address)
        assert len(asked) <= QUERIES_MAX, address
        assert len(gzip.compress(html.encode())) <= PAGE_MAX_BYTES, address
        assert len(re.findall("<[a-z]", html)) <= PAGE_MAX_NODES, address
        return html

    html = budgeted("/workflow?id=fan+out")
    bad = {c["task_id"] for c in calls if c["status"] in FAILURES}
    shown_ids = set(re.findall(r'href="/task\?id=([^"]+)"', html))
    assert {quote_plus(task_id) for task_id in bad} <= shown_ids
    folded = re.search(r"([\d,]+) more tasks", text_of(html))
    assert folded
    assert int(folded[1]) + len(shown_ids) == 1_001
    every: list[str] = []
    address = "/workflow?id=fan+out&all=1"
    while address:
        html = budgeted(address)
        every += re.findall(r'<td class="name[^>]*><a href="/task\?id=([^"]+)"', html)
        further = re.search(r'<a href="([^"]+)" rel="next">', html)
        address = unescape(further[1]) if further else ""
    assert len(every) == len(set(every)) == 1_001
    assert [row["calls"] for row in tab.get("/tasks?format=json").json()["by_name"]] == [2000, 1]
    for address in (
        "/tasks",
        "/tasks?show=newest&limit=100",
        "/task?id=member+0007",
        "/task?id=fan+out",
    ):
        budgeted(address)


def test_many_attempts_long_chains_and_circles(viewer: Viewer, database: Database[Any]) -> None:
    made = Tasks(NOW - timedelta(hours=5))
    for retries in range(300):
        made.attempt("stubborn", "ERROR", retries=retries, pause=0)
    for task_id, calls in (("wide", 450), ("two", 400), ("pairs", 140)):
        made.attempt(task_id, *["SUCCESS"] * calls, pause=0)
    made.attempt("two", *["SUCCESS"] * 500, retries=1, pause=0)
    made.attempt("pairs", *["SUCCESS"] * 140, retries=1, pause=0)
    for number in range(400):
        parent = {"parent_id": f"link {number - 1}"} if number else {}
        made.attempt(f"link {number}", "SUCCESS", root_id="link 0", pause=0, **parent)
    for number in range(3):
        after = f"ring {(number + 1) % 3}"
        made.attempt(f"ring {number}", "SUCCESS", root_id="ring", parent_id=after, pause=0)
    database["llm_calls"].insert_many(made.calls)
    tab = viewer()
    pages = [
        "/task?id=stubborn",
        "/task?id=stubborn&attempt=150",
        "/task?id=wide",
        "/task?id=pairs",
    ]
    for address in [*pages, "/workflow?id=link+0", "/workflow?id=ring", "/tasks?show=newest"]:
        html = shown(tab, address)
        assert len(gzip.compress(html.encode())) <= PAGE_MAX_BYTES, address
        assert len(re.findall("<[a-z]", html)) <= PAGE_MAX_NODES, address
    assert "← 288 earlier ones" in text_of(shown(tab, pages[0]))
    assert len(re.findall('<td class="name', shown(tab, "/workflow?id=ring"))) == 3
    found: list[str] = []
    assert "too many calls to set those side by side" in text_of(shown(tab, "/task?id=two"))
    assert len(re.findall("What differs", shown(tab, "/task?id=pairs"))) == 60
    assert "And 80 more pairs of calls." in text_of(shown(tab, "/task?id=pairs"))
    address = "/task?id=two&attempt=1"
    while address:
        html = shown(tab, address)
        found = re.findall(r'<a href="/call\?id=([^"]+)"><time', html) + found
        further = re.search(r'<a href="([^"]+)" rel="next">Earlier', html)
        address = unescape(further[1]) if further else ""
    assert found == [
        call["_id"] for call in made.calls if call["task"]["attempt_id"] == "two run 0"
    ]


def test_whatever_a_stranger_stored(viewer: Viewer, database: Database[Any]) -> None:
    """Fields of any type, names of any characters: each page is there, and nothing is markup."""
    made = Tasks(NOW - timedelta(hours=1))
    evil = '"><script>alert(1)</script>\u202e\n\0/../?&#'
    made.attempt(evil, "SUCCESS", "ERROR", name=evil + "n" * 400, queue=evil, worker=evil)
    odd: list[dict[str, Any]] = [
        {"task": "a text"},
        {"task": {"name": 7, "retries": "many", "redelivered": "yes", "attempt_id": {"a": 1}}},
        {"task": {"name": "x", "retries": -5, "root_id": 5, "group_id": [1], "parent_id": {}}},
        {"task": [{"name": "in a list"}], "created_at": "soon", "completed_at": 5},
        {"created_at": datetime(9999, 12, 31, tzinfo=UTC), "estimated_cost": float("nan")},
        {"status": "LATER", "ended_by": evil, "total_tokens": "7", "trace_id": 9},
        {"status": 5, "task": {"retries": 2**62, "pid": -1.5, "batch_size": True}},
    ]
    for number, fields in enumerate(odd):
        made.attempt(f"odd {number}", "SUCCESS")
        made.calls[-1] |= fields
    database["llm_calls"].insert_many(made.calls)
    tab = viewer()
    pages = ["/tasks", "/tasks?show=newest", "/tasks?show=workers", "/part/tasks/newest"]
    for task_id in (evil, *(f"odd {number}" for number in range(len(odd)))):
        pages += [f"/task?id={quote_plus(task_id)}", f"/workflow?id={quote_plus(task_id)}"]
    for address in pages:
        html = shown(
            tab,
            address,
            404
            if address.startswith("/workflow?id=odd") and tab.get(address).status_code == 404
            else 200,
        )
        assert "<script>alert" not in html, address
        assert "\u202e" not in html, address
        assert tab.get(f"{address}{'&' if '?' in address else '?'}format=json").status_code < 500


def test_a_tenant_sees_its_own_tasks(
    viewer: Viewer, stored: list[Call], database: Database[Any]
) -> None:
    mine = {call["_id"] for call in stored if call["task_id"] in ("five", "header 1")}
    database["llm_calls"].update_many({"_id": {"$in": [*mine]}}, {"$set": {"company_id": "me"}})
    tab = viewer(scope={"company_id": "me"})
    assert text_of(shown(tab, "/task?id=redelivered", 404))
    for address in ("/tasks?show=newest", "/workflow?id=root", "/task?id=header+1"):
        page = shown(tab, address)
        for other in ("redelivered", "header 0", "body"):
            assert f">{other}<" not in page, address
        assert re.search("made no call|started by|Newest", page), address
    assert [row["calls"] for row in tab.get("/tasks?format=json").json()["by_name"]] == [11, 3]


def test_nothing_there(viewer: Viewer) -> None:
    """Each page helps: which hooks to install, what is meant, that an id is none."""
    tab = viewer()
    for address in ("/tasks", "/tasks?show=newest"):
        assert "celery_hooks.install(app" in text_of(shown(tab, address))
    assert "No call was made in a task" in text_of(shown(tab, "/tasks?show=workers"))
    for page in ("task", "workflow"):
        assert "?id=" in text_of(shown(tab, f"/{page}", 400))
        assert "No such task" in text_of(shown(tab, f"/{page}?id=none", 404))
