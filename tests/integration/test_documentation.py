"""Every Python block of README and docs runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, ROOT, run_page
from pymongo.database import Database

import llm_audit
from llm_audit import embedded
from llm_audit.demo import provider
from llm_audit.settings import reset_settings

celery_hooks = pytest.importorskip("celery_hooks")
pytest.importorskip("sybil")

pytest.importorskip("mongomock_ng")
pytest.importorskip("openai")
celery_state = pytest.importorskip("celery._state")


@pytest.fixture(scope="module")
def provider_url() -> Iterator[str]:
    """Run the demo's stand-in for the provider."""
    with provider.serve() as url:
        yield url


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(  # noqa: PLR0917  (pytest passes fixtures by name)
    page: Path,
    mongod: embedded.Mongod,
    database: Database[dict[str, Any]],
    provider_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Python blocks of a page run one after the other, as a reader would paste them."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    monkeypatch.setenv("LLM_AUDIT_DATABASE", database.name)
    monkeypatch.setenv("OPENAI_BASE_URL", provider_url)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    # tasks of a page are not for the apps of other tests, as Celery would have it
    monkeypatch.setattr(celery_state, "_on_app_finalizers", set())
    reset_settings()

    run_page(page)
    celery_hooks.uninstall()
    llm_audit.uninstrument()
    llm_audit.shutdown(timeout_seconds=1)
    reset_settings()
