"""Delivery: whether everything has arrived, one process, and whom that is no business of."""

import re
from html import unescape
from typing import Any

from agents_left import agent_at, recording_for_agent
from pymongo.database import Database
from viewer_tabs import Viewer
from waiting import PATIENCE, until

import llm_audit
from llm_audit import LLMLogger
from llm_audit.recorder import process
from llm_audit.settings import get_settings


def record(count: int = 3) -> list[str]:
    """Record calls, and wait until MongoDB and the process's document know of them."""
    ids = [LLMLogger.start(model="m", messages=[]) for _ in range(count)]
    for call in ids[1:]:
        LLMLogger.complete(call, response_message={"role": "assistant", "content": "Hi"})
    assert llm_audit.flush(PATIENCE)
    process.recorder().shipper.life.soon()
    return [str(call) for call in ids]


def test_what_the_doctor_says_is_readable_by_anyone(
    viewer: Viewer, database: Database[Any]
) -> None:
    tab = viewer()
    open_id, *_ = record()
    until(lambda: database["llm_audit_processes"].count_documents({"recorded": {"$gte": 5}}))

    page = tab.get("/delivery").text
    (part,) = re.findall('hx-get="([^"]+)"', page)
    report = tab.get(unescape(part))
    assert report.status_code == 200
    diagnosis = tab.get(f"{part}?format=json").json()["diagnosis"]
    assert [process["recorded"] for process in diagnosis["processes"]] == [5]
    (link,) = re.findall('href="(/process[^"]+)"', report.text)
    one = tab.get(unescape(link))
    assert one.status_code == 200
    assert open_id in one.text
    calls = tab.get(f"{unescape(link)}&format=json").json()
    assert [call["id"] for call in calls["open_calls"]] == [open_id]
    assert len(calls["calls"]) == 3
    (all_of_it,) = re.findall('class="more" href="([^"]+)"', one.text)
    assert len(tab.get(f"{unescape(all_of_it)}&format=json").json()["calls"]) == 3


def test_a_gap_stands_on_the_first_page(viewer: Viewer, database: Database[Any]) -> None:
    tab = viewer()
    record()
    until(lambda: database["llm_audit_processes"].count_documents({"recorded": {"$gte": 5}}))
    loss = {
        "what": "record",
        "reason": "<b>too large</b>",
        "count": 2,
        "first_seq": 1,
        "last_seq": 2,
    }
    times = {"first_at": "$beat_at", "last_at": "$beat_at"}
    llm_audit.shutdown(PATIENCE)
    database["llm_audit_processes"].update_one(
        {}, [{"$set": {"dropped": [{**loss, **times}], "state": "ended"}}]
    )

    (part,) = [p for p in re.findall('hx-get="([^"]+)"', tab.get("/").text) if "banner" in p]
    banner = tab.get(unescape(part)).text

    assert 'role="alert"' in banner
    assert "&lt;b&gt;too large&lt;/b&gt;" in banner
    assert 'href="/delivery"' in banner


def test_who_sees_one_tenant_sees_no_processes(viewer: Viewer) -> None:
    tab = viewer(scope={"company_id": "c"})
    for path in ("/delivery", "/part/delivery/report", "/part/overview/banner", "/process?id=x"):
        assert tab.get(path).status_code == 400
    assert "/delivery" not in tab.get("/").text
    assert "banner" not in tab.get("/").text


def test_a_process_that_nobody_knows_is_told(viewer: Viewer) -> None:
    tab = viewer()
    assert tab.get("/process?id=nobody").status_code == 404
    assert tab.get("/process").status_code == 400
    assert tab.get("/help").status_code == 200


def test_machines_get_the_report_at_once(viewer: Viewer, database: Database[Any]) -> None:
    """The page as JSON is what the doctor says, not a page that waits for it."""
    record()
    until(lambda: database["llm_audit_processes"].count_documents({"recorded": {"$gte": 5}}))
    diagnosis = viewer().get("/delivery?format=json").json()["diagnosis"]
    assert [process["recorded"] for process in diagnosis["processes"]] == [5]


def test_agents_and_what_waits_for_one(viewer: Viewer, database: Database[Any]) -> None:
    """Who ships here and how far it is; of each process, who ships what it records."""
    record()
    until(lambda: database["llm_audit_processes"].count_documents({"recorded": {"$gte": 5}}))
    llm_audit.shutdown(PATIENCE)
    database["llm_audit_processes"].update_one({}, {"$set": {"shipped_by": "agent"}})
    settings = get_settings()
    other = settings.model_copy(update={"database": "<b>other</b>"})
    with agent_at(settings, "h:1, <i>database</i> d"), recording_for_agent(other):
        tab = viewer()
        report = tab.get("/part/delivery/report").text
        (link,) = re.findall('href="(/process[^"]+)"', report)
        nonce = link.partition("id=")[2]
        one = tab.get(f"/part/process/arrived?id={nonce}").text

    assert "<h2>Agents on this machine</h2>" in report
    assert "h:1, &lt;i&gt;database&lt;/i&gt; d" in report
    assert "an agent, database &lt;b&gt;other&lt;/b&gt;" in report
    assert '<td class="fit">no agent<td' in report
    assert '<td class="fit">an agent' in report
    assert "<dt>shipped by</dt><dd>the agent of its machine</dd>" in one
