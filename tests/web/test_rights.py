"""What the viewer needs to be allowed in MongoDB: to read the database, and nothing else."""

from typing import Any

from patience import PATIENCE
from pymongo.database import Database
from starlette.testclient import TestClient
from viewer_tabs import ADDRESS
from waiting import Recording

import llm_audit
from llm_audit import LLMLogger, audit_context, embedded
from llm_audit.web import create_app
from llm_audit.web.routes import PAGES, PARTS


def test_a_user_who_may_only_read_sees_every_page(
    recording: Recording, database: Database[Any], mongod: embedded.Mongod
) -> None:
    """MongoDB's own role `read` is enough, for the doctor's page too."""
    recording()
    with audit_context(trace_id="t", session_id="s", task_id="k", user_id="u", company_id="c"):
        call = LLMLogger.start(model="m", messages=[])
        LLMLogger.complete(call, response_message={"role": "assistant", "content": "Hi"})
    llm_audit.flush(PATIENCE)
    asked = {"/call": call, "/trace": "t", "/session": "s", "/task": "k", "/workflow": "t"}
    asked |= {"/user": "u", "/company": "c", "/call/raw": call, "/call/said": call}
    database.command("createUser", "viewer", pwd="right", roles=["read"])
    try:
        url = f"mongodb://viewer:right@{mongod.address}/?authSource={database.name}"
        recording(mongo_url=url)
        with TestClient(create_app(), base_url=ADDRESS) as tab:
            for path in (*PAGES, *PARTS):
                answer = tab.get(path, params={"id": str(asked.get(path, "")), "q": "Hi"})
                said_too_little = answer.status_code == 400 and path not in asked
                assert answer.status_code == 200 or said_too_little, (path, answer.text)
            diagnosis = tab.get("/delivery?format=json").json()["diagnosis"]
        assert [one for one in diagnosis["problems"] if "Indexes are missing" not in one] == []
        assert diagnosis["not_looked_at"] == {}
    finally:
        database.command("dropAllUsersFromDatabase")


def test_a_user_who_may_not_read_is_told_so(
    recording: Recording, database: Database[Any], mongod: embedded.Mongod
) -> None:
    """The page names the right that is missing, and the role that has it and no more."""
    recording()
    database.command("createUser", "nobody", pwd="right", roles=[])
    try:
        url = f"mongodb://nobody:right@{mongod.address}/?authSource={database.name}"
        recording(mongo_url=url)
        with TestClient(create_app(), base_url=ADDRESS) as tab:
            for path in ("/", "/calls", "/call?id=1", "/delivery?format=json"):
                answer = tab.get(path)
                assert answer.status_code == 503, path
                assert "such as read there" in answer.text, path
    finally:
        database.command("dropAllUsersFromDatabase")
