"""The import rules of the house. A new room gets its place in LAYERS first."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Lowest first. A room imports from its own layer and from those before it, never from later ones.
LAYERS = [
    {"errors", "open_enum"},
    {"call", "context", "ids", "settings"},
    {"encoding", "providers"},
    {"arguments", "outcomes", "redaction"},
    {"journal"},
    {"store"},
    {"recorder"},
    {"references"},
    {"endings"},
    {"logger"},
    {"diagnosis", "documents", "helpers", "lifecycle"},
    {"database", "queries"},
    {"__init__"},  # the public names
    {"celery_hooks", "cli", "demo", "embedded", "testing", "web"},
]

# Who may import what, where not everyone may.
FOREIGN = {
    "anthropic": {"integrations"},
    "beanie": {"database", "documents", "queries"},
    "celery": {"celery_hooks", "demo"},
    "fastapi": {"web"},
    "kombu": {"celery_hooks"},
    "mongomock_ng": {"testing"},
    "openai": {"demo", "integrations"},
    "pytest": {"testing"},
    "redis": {"demo"},
    "rich": {"cli", "demo"},
    "typer": {"cli"},
}

HEAVY = ["anthropic", "beanie", "celery", "fastapi", "gridfs", "openai", "pymongo", "rich", "typer"]

FILES = sorted(
    path.relative_to(ROOT)
    for package in ("celery_hooks", "llm_audit")
    for path in (ROOT / package).rglob("*.py")
)
HOOKS = [path for path in FILES if path.parts[0] == "celery_hooks"]


def room_of(parts: tuple[str, ...]) -> str:
    """Name the room of a file or module, given as the parts of its dotted name."""
    if parts[0] == "celery_hooks":
        return "celery_hooks"
    return parts[1] if len(parts) > 1 else "__init__"


def room_of_file(path: Path) -> str:
    return room_of(path.with_suffix("").parts)


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, wherever in it."""
    package = path.parent.parts
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def rooms_imported(path: Path) -> set[str]:
    """Name the rooms of ours that a file imports from."""
    rooms = set()
    for name in imports(path):
        parts = tuple(name.split("."))
        if parts[0] in {"celery_hooks", "llm_audit"}:
            # `from llm_audit import x` is the public name x, unless x is a module.
            rooms.add(room_of(parts if is_module(".".join(parts[:2])) else parts[:1]))
    return rooms


def layer_of(room: str) -> int:
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


def test_there_is_something_to_check() -> None:
    """Both packages are found, so the tests below are not empty."""
    assert {room_of_file(path) for path in FILES} >= {"celery_hooks", "__init__", "recorder"}
    assert HOOKS


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_file_is_in_a_known_room(path: Path) -> None:
    """Whoever adds a room decides what it may import."""
    assert room_of_file(path) in set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_go_downwards(path: Path) -> None:
    """A room imports from its own layer and from lower ones only."""
    room = room_of_file(path)
    if room == "__init__":
        pytest.skip("the table of contents names rooms of every layer")
    above = {other for other in rooms_imported(path) if layer_of(other) > layer_of(room)}

    assert above == set()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_frameworks_stay_in_their_rooms(path: Path) -> None:
    """A framework or client is imported only by the leaf that is about it."""
    room = room_of_file(path)
    strangers = {
        name for name in imports(path) if room not in FOREIGN.get(name.partition(".")[0], {room})
    }

    assert strangers == set()


@pytest.mark.parametrize("path", HOOKS, ids=str)
def test_celery_hooks_use_public_names_only(path: Path) -> None:
    """The hooks do what any user's code could do: no underscores, no recorder."""
    ours = [name.split(".") for name in imports(path) if name.startswith("llm_audit")]
    private = [name for name in ours if any(part.startswith("_") for part in name)]
    recorder = [name for name in ours if name[1:2] == ["recorder"]]
    tree = ast.parse((ROOT / path).read_text())
    reached = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "llm_audit"
        and (node.attr.startswith("_") or node.attr == "recorder")
    ]

    assert (private, recorder, reached) == ([], [], [])


def test_import_llm_audit_is_light() -> None:
    """`import llm_audit` pulls in no driver, no framework and no client."""
    script = f"import sys, llm_audit; print(*sorted(sys.modules.keys() & {set(HEAVY)}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
