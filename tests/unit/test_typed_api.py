"""What `make types` checks of the public names is all of them."""

import ast
from pathlib import Path

import llm_audit

API = Path(__file__).parents[1] / "typing" / "api.py"


def test_every_public_name_is_used_with_its_types() -> None:
    """Each name that users import is used where mypy looks."""
    nodes = list(ast.walk(ast.parse(API.read_text())))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}

    assert set(llm_audit.__all__) - used == set()
