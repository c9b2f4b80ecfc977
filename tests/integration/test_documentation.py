import ast
import asyncio
import inspect
from pathlib import Path

import pytest

import llm_audit
from llm_audit import embedded
from llm_audit.settings import reset_settings

sybil = pytest.importorskip("sybil")
markdown = pytest.importorskip("sybil.parsers.markdown")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(
    page: Path, mongod: embedded.Mongod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python blocks of a page run one after the other, as a reader would paste them."""
    monkeypatch.setenv("LLM_AUDIT_MONGO_URL", mongod.url)
    monkeypatch.setenv("LLM_AUDIT_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("LLM_AUDIT_STRICT", "true")
    reset_settings()

    with asyncio.Runner() as runner:

        def run(example: "sybil.Example") -> None:
            source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
            code = compile(source, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(code, example.namespace)
            if inspect.iscoroutine(result):
                runner.run(result)

        parsers = [markdown.CodeBlockParser("python", run), markdown.SkipParser()]
        for example in sybil.Sybil(parsers).parse(page).examples():
            example.evaluate()

    llm_audit.shutdown()
    reset_settings()
