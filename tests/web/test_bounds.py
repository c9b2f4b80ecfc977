"""What one address or one stored name can cost; what a tenant is told of the house."""

import json
import subprocess
from typing import Any
from urllib.parse import quote

from pymongo.database import Database
from viewer_pages import ALL, read
from viewer_tabs import Viewer
from waiting import Recording

from llm_audit.providers.whole import OURS
from llm_audit.web.asked import ADDRESS_MAX, PARAMETERS_MAX
from llm_audit.web.drawing.calls.commands import commands
from llm_audit.wire.requests import TEXT


def test_an_address_may_be_so_long(viewer: Viewer, database: Database[Any]) -> None:
    """Every link repeats it, and each of its filters has a link: what is longer is not drawn."""
    database["llm_calls"].insert_one({"_id": "1", "status": "SUCCESS", "model": "m"})
    tab = viewer()
    many = "&".join(f"model={number}" for number in range(PARAMETERS_MAX + 1))
    for query in (
        *(many, "&" * 101, f"q={'x' * ADDRESS_MAX}", f"{many}&token=x", f"id=1&{many}"),
        *(many.replace("model", name) for name in ("not.tags", "missing", "a", "since", "tz")),
    ):
        for path in ALL if query is many else ("/calls", "/part/calls/facets", "/search"):
            answer = tab.get(f"{path}?{query}")
            assert answer.status_code == 400, (path, query[:40])
            assert "address" in answer.text
            assert len(answer.content) < 16_000
            assert query[-20:] not in answer.text
            assert not read(answer.text).wrong
    said = tab.get(f"/calls?{many}&format=json")
    assert (said.status_code, list(said.json())) == (400, ["error"])
    some = "&".join(f"model={number}" for number in range(PARAMETERS_MAX - 1))
    for allowed in (some, f"user_id={'x' * (ADDRESS_MAX - 40)}"):
        assert tab.get(f"/calls?{allowed}").status_code == 200


def test_a_tenant_is_told_nothing_of_the_database(
    viewer: Viewer, recording: Recording, database: Database[Any]
) -> None:
    """Where it is, what it is called, who asks it: that is for who runs the viewer."""
    database["llm_calls"].insert_one({"_id": "1", "status": "SUCCESS", "company_id": "c"})
    tab = viewer(scope={"company_id": "c"})
    for path in ALL:
        for given in ({"id": "1", "a": "1", "call": "1", "q": "x"}, {"id": "c", "company_id": "z"}):
            assert database.name not in tab.get(path, params=given).text, path
    assert database.name in viewer().get("/call/raw?id=1").text
    house = "inner-host.example"
    url = f"mongodb://{house}:1/?serverSelectionTimeoutMS=50"
    recording(mongo_url=url, database="inner_name")
    paths = ("/", "/calls", "/calls?format=json", "/part/calls/facets", "/call?id=x", "/search?q=x")
    for tenant in (None, {"company_id": "c"}):
        tab = viewer(scope=tenant)
        for path in paths if tenant else paths[1:2]:
            answer = tab.get(path)
            assert answer.status_code in (200, 503), (path, answer.status_code)
            for inner in (house, "inner_name", "LLM_AUDIT_MONGO_URL"):
                assert (inner in answer.text) is (tenant is None and inner != "inner_name"), path


def test_a_copied_command_is_one_command_in_every_shell() -> None:
    """Also in those that do not know $'...', and whatever the request was."""
    for text in (
        "é' ; touch x; '",
        "\x7f';id;'\n",
        "\u202e' \\' $(id)",
        "\ud800!!'`id`'",
        "a'\x00b",
    ):
        for body in (text, {"model": text, "messages": [{"role": "user", "content": text}]}):
            params = {OURS: {TEXT: body}} if body is text else body
            call = {"_id": "1", "endpoint": "https://a.example/", "request_params": params}
            curl = commands(call, 0, "d", "c")[0].text
            assert curl
            assert curl.isascii()
            for shell in ("dash", "bash"):
                script = f"set -f\ncurl() {{ echo ran; }}\n{curl}\necho $?"
                said = subprocess.run([shell, "-c", script], capture_output=True, check=False)
                assert said.stdout == b"ran\n0\n", (shell, curl, said)


def test_a_name_is_looked_at_in_no_more_time_than_it_is_long() -> None:
    """What is called as a key is left out, however long its name is."""
    long = "secret" * 100_000 + "\n"
    call = {"_id": "1", "request_params": {long: "v", f"{'x' * 9_000}_api_key": "SECRET", "a": 1}}
    curl = commands(call, 0, "d", "c")[0].text
    assert curl
    assert "SECRET" not in curl
    assert json.dumps({"a": 1}) in curl
    assert quote("secret") in " ".join(commands(call, 0, "d", "c")[0].missing)
