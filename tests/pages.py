"""The pages of the documentation, run as a reader would paste them."""

import ast
import asyncio
import inspect
from pathlib import Path

import pytest

from llm_audit.documents import LLMCall

sybil = pytest.importorskip("sybil")
markdown = pytest.importorskip("sybil.parsers.markdown")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.md"))


def run_page(page: Path) -> None:
    """Run the Python blocks of a page, one after the other."""
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
        if "\nawait llm_audit.init()" in page.read_text():
            runner.run(LLMCall.get_pymongo_collection().database.client.close())
