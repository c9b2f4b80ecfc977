import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_audit.settings import Settings

ROOT = Path(__file__).parents[2]
SERVICES = ["mongo", "redis", "worker"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """The instructions as (name, arguments), continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def volume_targets(service: dict[str, Any]) -> dict[str, str]:
    """Named volume -> where the service mounts it."""
    return dict(volume.split(":") for volume in service["volumes"])


def test_there_are_the_three_services(compose: dict[str, Any]) -> None:
    """A mongo, a redis and a worker, and nothing else."""
    assert sorted(compose["services"]) == SERVICES


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_health_check_and_a_volume(compose: dict[str, Any], name: str) -> None:
    """A service tells whether it works, and keeps its data in a declared volume."""
    service = compose["services"][name]

    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert volume_targets(service)
    assert volume_targets(service).keys() <= compose["volumes"].keys()


def test_mongo_is_a_current_replica_set_of_one(compose: dict[str, Any]) -> None:
    """MongoDB 8 runs as the replica set that its health check makes and the worker names."""
    mongo = compose["services"]["mongo"]
    command, check = mongo["command"], mongo["healthcheck"]["test"][-1]
    replica_set = command[command.index("--replSet") + 1]
    url = compose["services"]["worker"]["environment"]["LLM_AUDIT_MONGO_URL"]

    assert re.fullmatch(r"mongo:8(\.\d+)*", mongo["image"])
    assert f'rs.initiate({{_id: "{replica_set}"' in check
    assert check.count("host:") == 1
    assert url.endswith(f"replicaSet={replica_set}")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(compose: dict[str, Any], name: str) -> None:
    """Servers without passwords are out of reach of other machines."""
    ports = compose["services"][name].get("ports", [])

    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert bool(ports) is (name != "worker")


def test_the_worker_waits_for_healthy_servers(compose: dict[str, Any]) -> None:
    """The worker starts when both servers say that they work."""
    assert compose["services"]["worker"]["depends_on"] == {
        "mongo": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
    }


def test_the_worker_runs_an_app_that_exists(compose: dict[str, Any]) -> None:
    """The app that the worker and its health check name is a module of the package."""
    worker = compose["services"]["worker"]
    apps = re.findall(r"-A (\S+)", f"{worker['command']} {worker['healthcheck']['test'][-1]}")
    module = apps[0].partition(":")[0]

    assert apps == ["llm_audit.demo.tasks:app"] * 2
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_settings_in_the_environment_are_real(
    compose: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """Every LLM_AUDIT_ variable that is set is read by a setting."""
    known = {f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields}
    names = {*compose["services"]["worker"]["environment"]}
    names |= {rest.partition("=")[0] for name, rest in dockerfile if name == "ENV"}
    ours = {name for name in names if name.startswith("LLM_AUDIT_")}

    assert {"LLM_AUDIT_MONGO_URL", "LLM_AUDIT_SPOOL_DIR"} <= ours <= known


def test_the_spool_is_a_volume_in_both_files(
    compose: dict[str, Any], dockerfile: list[tuple[str, str]]
) -> None:
    """The journal is written to the volume, so it outlives the container."""
    worker = compose["services"]["worker"]
    spool = worker["environment"]["LLM_AUDIT_SPOOL_DIR"]

    assert list(volume_targets(worker).values()) == [spool]
    assert ("VOLUME", spool) in dockerfile
    assert ("ENV", f"LLM_AUDIT_SPOOL_DIR={spool}") in dockerfile


def test_the_image_runs_without_rights_and_installs_the_wheel(
    dockerfile: list[tuple[str, str]],
) -> None:
    """The worker is not root, and its image has the wheel with extras that exist."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    users = [rest for name, rest in dockerfile if name == "USER"]
    extras = re.findall(r"\.whl\)\[([\w,]+)\]", " ".join(rest for _, rest in dockerfile))

    assert users
    assert users[-1] not in {"root", "0"}
    assert extras == ["celery,openai"]
    assert set(extras[0].split(",")) <= project["optional-dependencies"].keys()


def test_what_the_image_copies_is_there(dockerfile: list[tuple[str, str]]) -> None:
    """Every file that the build takes from the checkout exists and is not ignored."""
    ignored = (ROOT / ".dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {rest.split()[0] for name, rest in dockerfile if name == "COPY"} - {"."}

    assert copied <= allowed
    assert [name for name in sorted(allowed) if not (ROOT / name).exists()] == []
