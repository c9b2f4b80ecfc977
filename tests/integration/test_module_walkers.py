"""Tools that look at every attribute of every module: ours are imported by none of them."""

import subprocess
import sys

import pytest

pytest_plugins = "pytester"

FROZEN = """
import datetime
import sys
import time
from freezegun import freeze_time
from pydantic import BaseModel

class Order(BaseModel):
    at: datetime.datetime

def ours():
    return {name for name in sys.modules if name.split(".")[0] in {"llm_audit", "celery_hooks"}}

def test_frozen():
    before = ours()
    with freeze_time("2021-01-01"):
        assert datetime.datetime.now().year == time.gmtime().tm_year == 2021
        assert Order(at=datetime.datetime.now()).at.year == 2021
    assert ours() == before

def test_not_frozen_any_more():
    assert datetime.datetime.now().year > 2021
"""
RECORDS = """
import datetime
import llm_audit
from freezegun import freeze_time
from llm_audit import LLMLogger

def test_records(llm_audit_records):
    with freeze_time("2021-01-01"):
        with LLMLogger.log_call(model="m", messages=[]) as call_id:
            LLMLogger.complete(call_id, response_message={"content": "x"})
        assert llm_audit.flush(1)
        [call] = llm_audit_records
        llm_audit.shutdown(1)
    assert call.status == "SUCCESS"
    assert call.created_at == datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
"""
WALK = """
import doctest, inspect, io, pydoc, sys
import llm_audit, llm_audit.testing, llm_audit.testing.plugin
names = {*llm_audit.__all__, *llm_audit.testing.__all__}
walkers = [
    lambda module: [getattr(module, name) for name in dir(module)],
    lambda module: inspect.getmembers(module),
    lambda module: pydoc.render_doc(module, renderer=pydoc.plaintext),
    lambda module: doctest.DocTestFinder().find(module),
    lambda module: [hasattr(module, name) for name in ("__wrapped__", "pytest_plugins", "setup")],
    lambda module: vars(module),
]
for walk in walkers:
    for name, module in list(sys.modules.items()):
        if name.startswith("llm_audit"):
            walk(module)
    loaded = {name for name in sys.modules if name.startswith("llm_audit")}
    assert loaded == {"llm_audit", "llm_audit.testing", "llm_audit.testing.plugin"}, loaded
    heavy = {"beanie", "bson", "pydantic", "pymongo"} & sys.modules.keys()
    assert not heavy, heavy
for name in llm_audit.__all__:
    getattr(llm_audit, name)  # they are all there for those who ask
    assert name in dir(llm_audit)
"""


@pytest.mark.parametrize("options", [(), ("-p", "no:llm_audit")], ids=["with", "without"])
def test_a_project_that_does_not_use_us_may_freeze_time(
    pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """With our plugin in the environment freezegun works as without it."""
    pytester.makepyfile(FROZEN)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=2)


def test_a_project_that_uses_us_may_freeze_time(pytester: pytest.Pytester) -> None:
    """What it records has the time that it froze, and nothing waits for that clock."""
    pytester.makepyfile(RECORDS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_no_walk_imports_anything() -> None:
    """Neither listing a module of ours, nor reading all that it lists, nor asking for others."""
    done = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
