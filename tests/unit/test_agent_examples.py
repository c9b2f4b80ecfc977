"""What the page about the agent shows can be read, fits together, and names what exists."""

import configparser
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("typer")
prometheus = pytest.importorskip("prometheus_client")

import typer  # noqa: E402

from llm_audit.cli.app import app  # noqa: E402
from llm_audit.metrics import AgentCollector  # noqa: E402
from llm_audit.settings import Settings  # noqa: E402

PAGE = (Path(__file__).parents[2] / "docs/how-to/agent.md").read_text()
SAME = ("shipper", "spool_dir", "spool_group", "spool_max_bytes")  # for apps and agent
AGENT = ("llm-audit", "agent")
BYTES = {"Mi": 2**20, "Gi": 2**30}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def manifests() -> list[dict[str, Any]]:
    """Return the Deployment, the DaemonSet, an app's pod, and the rules of Prometheus."""
    return [yaml.safe_load(text) for text in blocks("yaml")]


def told(words: list[str]) -> dict[str, Any]:
    """Return what the command makes of its options; it refuses those that it does not have."""
    assert tuple(words[:2]) == AGENT, words
    command = typer.main.get_command(app).commands["agent"]  # type: ignore[attr-defined]
    return dict(command.make_context("agent", words[2:]).params)


def variables(container: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value") for each in container["env"]}


def settings_of(named: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that two who share a spool have to have in common, as they are read."""
    given = {name.removeprefix("LLM_AUDIT_").lower(): value for name, value in named.items()}
    own = {name: value for name, value in given.items() if value and name in Settings.model_fields}
    settings = Settings(**own)
    said = {name: getattr(settings, name) for name in SAME if name != "shipper"}
    return {**said, "target": settings.target("agent")}


def command_lines() -> Iterator[list[str]]:
    """Yield every command line with the agent that the page shows."""
    for line in re.findall(
        r"(?:^|[/ ;])(llm-audit agent.*)$", "\n".join(blocks(r"\w*")), re.MULTILINE
    ):
        yield shlex.split(re.split(r"\|\||;|&(?:\s|$)", line)[0])


def test_every_command_line_is_one() -> None:
    """No option is named that the command does not have, in no place."""
    lines = [*command_lines()]
    assert len(lines) >= 5
    seen = [told(words) for words in lines]
    assert {each["once"] for each in seen} == {each["health"] for each in seen} == {True, False}
    for option in set(re.findall(r"`(--[a-z-]+)", PAGE)):
        assert f"{option.replace('-', '_').strip('_')}" in {*seen[0], "timeout"}, option


def test_every_variable_named_is_a_setting() -> None:
    """Nothing is set that nobody reads."""
    named = set(re.findall(r"LLM_AUDIT_[A-Z_]+", PAGE)) - {"LLM_AUDIT_"}
    assert named <= {f"LLM_AUDIT_{name.upper()}" for name in Settings.model_fields}
    missing = {f"`{name}`" for name in ("spool_dir", "database", "collection", "spool_group")}
    assert all(name in PAGE for name in missing)


def test_the_units_of_systemd_belong_together() -> None:
    """The app starts after the agent, needs none, and may read what is for both."""
    agent, reviews = (configparser.ConfigParser(strict=False, interpolation=None) for _ in range(2))
    for unit, text in zip((agent, reviews), blocks("ini"), strict=True):
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(text)
    service = agent["Service"]
    assert told(["llm-audit", *service["ExecStart"].split()[1:]])["metrics_port"] == 9464
    assert service["ExecStart"].startswith("/")
    assert service["ReadWritePaths"] == "/var/lib/llm-audit/spool"
    assert f"LLM_AUDIT_SPOOL_DIR={service['ReadWritePaths']}\n" in PAGE
    assert f"-m 2770 {service['ReadWritePaths']}\n" in PAGE  # it is made
    assert (service["Restart"], agent["Install"]["WantedBy"]) == ("always", "multi-user.target")
    (name,) = re.findall(r"`/etc/systemd/system/(\S+)`", PAGE)
    assert reviews["Unit"]["After"] == reviews["Unit"]["Wants"] == name
    assert "Requires" not in reviews["Unit"]
    both = [set(re.findall(r"EnvironmentFile=(\S+)", text)) for text in blocks("ini")]
    assert both[1] < both[0]
    assert all(f"`{file}`" in PAGE for file in both[0])
    assert service["Group"] == reviews["Service"]["SupplementaryGroups"]
    assert int(service["TimeoutStopSec"]) > 2 * Settings().exit_timeout_seconds


def test_a_sidecar_and_its_app_have_one_spool_and_one_user() -> None:
    """The volume has more room than the spool may take, and the sidecar outlives the app."""
    pod = manifests()[0]["spec"]["template"]["spec"]
    (agent,), (worker,), (volume,) = pod["initContainers"], pod["containers"], pod["volumes"]
    assert agent["restartPolicy"] == "Always"
    assert pod["securityContext"]["runAsUser"] > 0
    assert all("runAsUser" not in each.get("securityContext", {}) for each in (agent, worker))
    assert settings_of(variables(agent)) == settings_of(variables(worker))
    assert variables(worker)["LLM_AUDIT_SHIPPER"] == "agent"
    assert "LLM_AUDIT_MONGO_URL" not in variables(worker)
    mount = {"name": volume["name"], "mountPath": variables(agent)["LLM_AUDIT_SPOOL_DIR"]}
    assert agent["volumeMounts"] == worker["volumeMounts"] == [mount]
    size, unit = re.fullmatch(r"(\d+)(\w+)", volume["emptyDir"]["sizeLimit"]).groups()  # type: ignore[union-attr]
    assert int(variables(worker)["LLM_AUDIT_SPOOL_MAX_BYTES"]) < int(size) * BYTES[unit]
    is_looked_after(agent)


def test_a_daemon_set_and_its_apps_share_a_spool_by_a_group() -> None:
    """The folder is made for that group, and nobody but who makes it is root."""
    daemon, app_pod = manifests()[1]["spec"]["template"]["spec"], manifests()[2]["spec"]
    (maker,), (agent,), (volume,) = (
        daemon["initContainers"], daemon["containers"], daemon["volumes"],
    )  # fmt: skip
    (worker,) = app_pod["containers"]
    assert settings_of(variables(agent)) == settings_of(variables(worker))
    assert variables(worker)["LLM_AUDIT_SHIPPER"] == variables(agent)["LLM_AUDIT_SHIPPER"]
    assert "LLM_AUDIT_MONGO_URL" not in variables(worker)
    group = int(variables(agent)["LLM_AUDIT_SPOOL_GROUP"])
    assert agent["securityContext"]["runAsGroup"] == group
    assert app_pod["securityContext"]["supplementalGroups"] == [group]
    assert app_pod["securityContext"]["runAsUser"] > 0
    assert app_pod["volumes"][0]["hostPath"]["path"] == volume["hostPath"]["path"]
    assert maker["volumeMounts"] == agent["volumeMounts"] == worker["volumeMounts"]
    made = maker["command"][-1]
    assert made == variables(agent)["LLM_AUDIT_SPOOL_DIR"]
    assert made.startswith(f"{agent['volumeMounts'][0]['mountPath']}/")
    words = maker["command"]
    assert words[words.index("-g") + 1] == str(group)
    assert words[words.index("-m") + 1] == "2770"
    assert agent["securityContext"]["runAsUser"] > 0
    is_looked_after(agent)


def is_looked_after(agent: dict[str, Any]) -> None:
    """Check an agent's container: what it runs, where it serves, how it is asked, what it may."""
    said = told(agent["args"])
    assert [port["containerPort"] for port in agent["ports"]] == [said["metrics_port"]]
    assert said["metrics_host"] == "0.0.0.0"
    assert told(agent["livenessProbe"]["exec"]["command"])["health"]
    assert agent["livenessProbe"]["timeoutSeconds"] < agent["livenessProbe"]["periodSeconds"]
    assert "startupProbe" not in agent
    assert agent["securityContext"]["readOnlyRootFilesystem"] is True
    assert agent["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    secrets = [each for each in agent["env"] if "valueFrom" in each]
    assert [each["name"] for each in secrets] == ["LLM_AUDIT_MONGO_URL"]


def test_the_metrics_that_are_named_are_served() -> None:
    """All that there are, each with its type; and alerts ask for no others."""
    served = {}
    for family in AgentCollector(lambda: None).describe():
        served[f"{family.name}_total" if family.type == "counter" else family.name] = family.type
    table = dict(re.findall(r"^\| `(llm_audit_\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert served == table
    (rules,) = manifests()[3]["groups"]
    asked = [set(re.findall(r"llm_audit_\w+", rule["expr"])) for rule in rules["rules"]]
    assert set().union(*asked) <= served.keys()
    assert sum(map(bool, asked)) == len(asked) - 1  # one asks whether there is an agent at all
    assert all(rule["annotations"]["summary"] for rule in rules["rules"])
