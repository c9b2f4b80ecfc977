"""Which version this is: in Python, in the shell, installed or not."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import llm_audit

ROOT = Path(__file__).parents[2]


def output_of(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_package_knows_its_version() -> None:
    """It is that of the distribution, and known in a source tree where nothing is installed."""
    assert llm_audit.__version__ == version("llm-audit")
    script = "import llm_audit; print(llm_audit.__version__)"
    assert output_of("-S", "-c", script).strip() == llm_audit.__version__


def test_the_command_line_shows_it() -> None:
    """Without a driver, and whatever the settings are."""
    pytest.importorskip("typer")
    script = """
import os, sys
from llm_audit.cli import main
os.environ["LLM_AUDIT_MONGO_URL"] = "nonsense"
assert main(["--version"]) == 0
print(sys.modules.keys() & {"beanie", "bson", "celery", "pymongo"})
"""
    assert output_of("-c", script).splitlines() == [f"llm-audit {llm_audit.__version__}", "set()"]
