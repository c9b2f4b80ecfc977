"""What docker-compose.yml and the Dockerfile name is there, and they agree."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_audit.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def services() -> dict[str, Any]:
    """Give the services, each with the volumes that it declares."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for service in compose["services"].values():
        service["volumes"] = dict(volume.split(":") for volume in service["volumes"])
        assert service["volumes"].keys() <= compose["volumes"].keys()
    return dict(compose["services"])


@pytest.fixture
def image() -> list[tuple[str, str]]:
    """Give the Dockerfile's instructions as (name, arguments), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def test_each_service_is_checked_keeps_its_data_and_is_out_of_reach(
    services: dict[str, Any],
) -> None:
    """A service says whether it works, has a volume, and publishes ports on loopback only."""
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}, name
        assert service["volumes"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    waits_for = services["worker"]["depends_on"]
    assert {name: wait["condition"] for name, wait in waits_for.items()} == {
        "mongo": "service_healthy",
        "redis": "service_healthy",
    }


def test_mongo_is_a_replica_set_of_one(services: dict[str, Any]) -> None:
    """MongoDB runs as the replica set that its health check makes and the worker names."""
    command, check = services["mongo"]["command"], services["mongo"]["healthcheck"]["test"][-1]
    replica_set = command[command.index("--replSet") + 1]
    url = services["worker"]["environment"]["LLM_AUDIT_MONGO_URL"]

    assert f'rs.initiate({{_id: "{replica_set}"' in check
    assert check.count("host:") == 1
    assert url.endswith(f"replicaSet={replica_set}")


def test_the_worker_runs_an_app_that_exists(services: dict[str, Any]) -> None:
    """The worker and its health check name the same app, a module of the package."""
    worker = services["worker"]
    apps = re.findall(r"-A (\S+):app", f"{worker['command']} {worker['healthcheck']['test'][-1]}")

    assert len(apps) == 2
    for module in apps:
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_spool_is_a_volume_in_both_files(
    services: dict[str, Any], image: list[tuple[str, str]]
) -> None:
    """The journal is written to the volume, so it outlives the container; settings are real."""
    worker = services["worker"]
    spool = worker["environment"]["LLM_AUDIT_SPOOL_DIR"]
    known = {f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields}

    assert list(worker["volumes"].values()) == [spool]
    assert ("VOLUME", spool) in image
    assert ("ENV", f"LLM_AUDIT_SPOOL_DIR={spool}") in image
    assert {name for name in worker["environment"] if name.startswith("LLM_AUDIT_")} <= known


def test_the_image_is_made_of_what_is_there(image: list[tuple[str, str]]) -> None:
    """What is copied exists and is not ignored, the extras exist, and the user is not root."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {rest.split()[0] for name, rest in image if name == "COPY"} - {"."}
    (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", " ".join(rest for _, rest in image))

    assert copied <= allowed
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    assert [rest for name, rest in image if name == "USER"][-1] not in {"root", "0"}
