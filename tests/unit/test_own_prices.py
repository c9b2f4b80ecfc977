"""Prices of the user's own: they beat the list, not the caller or the bill, and never raise."""

import math
from pathlib import Path
from typing import Any

import pytest
from outcome_fields import response_fields

from llm_audit.errors import ConfigurationError
from llm_audit.settings import changed_settings, configure, freeze, get_settings, thaw

U = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
FILE = """
# contract 4711
[[price]]
provider = "azure"
model = "gpt-4o*"
input = 2
output = 8.0
cached = 0.5
request = 0.001

[[price]]
model = "Llama-*"
input = 0.2
output = 0.6
written = 0.25

[[price]]
model = "embedder"
input = 0.01

[[price]]
provider = "free-*"
model = "*"
request = 0
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(FILE)
    return path


def ended(provider: str, model: str, usage: dict[str, Any] = U, **more: Any) -> dict[str, Any]:
    cost = more.pop("estimated_cost", None)
    return response_fields(None, more, usage, cost, (provider, model))


def test_a_file_of_prices(file: Path) -> None:
    """The first price that fits counts, by the requested or the answered model."""
    cached = {**U, "cached_tokens": 600, "cache_write_tokens": 100}
    with changed_settings(prices=file):
        negotiated = ended("Azure", "gpt-4o-2024-08-06", cached)
        hosted = ended("vllm", "my-name", cached, response_model="llama-3.3-70b")
        embedded = ended("vllm", "embedder", {"prompt_tokens": 1000, "total_tokens": 1000})
        unsettled = ended("vllm", "embedder")
        free = ended("free-tier", "gpt-4o")
        listed = ended("openai", "gpt-4o")

    assert negotiated["cost_source"] == "own: azure/gpt-4o*"
    assert negotiated["cost_details"] == pytest.approx(
        {"requests": 0.001, "input": 600e-6, "output": 4000e-6, "cached": 300e-6, "written": 200e-6}
    )
    assert negotiated["estimated_cost"] == math.fsum(negotiated["cost_details"].values())
    assert hosted["estimated_cost"] == pytest.approx((900 * 0.2 + 100 * 0.25 + 500 * 0.6) / 1e6)
    assert embedded["estimated_cost"] == pytest.approx(1e-5)
    assert "estimated_cost" not in unsettled  # output without a rate
    assert (free["estimated_cost"], free["cost_source"]) == (0.0, "own: free-*/*")
    assert listed["cost_source"].startswith("genai-prices")


def test_neither_the_caller_nor_the_bill_is_overruled(file: Path) -> None:
    """Who says what a call cost, or was billed, knows better."""
    with changed_settings(prices=file):
        told = ended("azure", "gpt-4o", estimated_cost=0.5)
        billed = ended("azure", "gpt-4o", {**U, "cost": 0.25})

    assert (told["estimated_cost"], told["cost_source"]) == (0.5, "caller")
    assert (billed["estimated_cost"], billed["cost_source"]) == (0.25, "billed: usage.cost")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[price]]\ninput = 1", r"prices\.toml, price 1: model: Field required"),
        ("[[price]]\nmodel='a'\ninput=1\n[[price]]\nmodel='b'\ninput=-1", "price 2: input: .*0"),
        ("[[price]]\nmodel='a'\noutput=nan", "price 1: output: .*finite"),
        ("[[price]]\nmodel='a'\ninput='1'", "price 1: input: .*number"),
        ("[[price]]\nmodel='a'\ninptu=1", "price 1: inptu: no such field.*input"),
        ("[[price]]\nmodel='a'", "price 1: give input, output or request"),
        ("[[prices]]\nmodel='a'\ninput=1", r"'prices' is not \[\[price\]\]"),
        ("", r"has no \[\[price\]\]"),
        ("price = 1", r"has no \[\[price\]\]"),
        ("price = [1]", "price 1: "),
        ("{}", "is no TOML"),
        ("\udcff", "is no TOML"),
        (None, "cannot read .*No such file"),
    ],
)
def test_a_wrong_file_is_one_clear_error(
    tmp_path: Path, content: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the file, the price and the field; from the environment it only logs."""
    path = tmp_path / "prices.toml"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError, match=f"(?s)^prices: .*{message}"):
        configure(prices=path)

    monkeypatch.setenv("LLM_AUDIT_PRICES", str(path))
    configure()
    assert get_settings().prices is None


@pytest.mark.parametrize("wrong", [1, [], "", "\0", b"x"])
def test_what_is_no_file_is_one_clear_error(wrong: object) -> None:
    """Anything else than a path or a function is a mistake."""
    with pytest.raises(ConfigurationError, match=r"^prices: "):
        configure(prices=wrong)


def test_a_function_of_prices() -> None:
    """It sees the call and may answer USD, parts, or that the call is not its."""
    seen = []

    def ours(call: dict[str, Any]) -> object:
        seen.append(call)
        return {"vllm": 0.25, "parts": {"gpu": 0.25, "power": 0.5}}.get(call["provider"])

    with changed_settings(prices=ours):
        number, parts, other = (ended(name, "gpt-4o") for name in ("vllm", "parts", "openai"))

    assert (number["estimated_cost"], number["cost_source"]) == (0.25, "own: ours")
    assert (parts["estimated_cost"], parts["cost_details"]) == (0.75, {"gpu": 0.25, "power": 0.5})
    assert other["cost_source"].startswith("genai-prices")
    assert seen[0]["usage"] == U
    assert {**seen[0], **U, "model": "gpt-4o", "response_model": None} == seen[0]


@pytest.mark.parametrize("answer", ["much", math.nan, -1, {"a": None}, object()])
def test_a_function_that_fails_never_harms_the_call(answer: object) -> None:
    """A call that it cannot price has no cost, rather than that of the list."""

    def fails(call: dict[str, Any]) -> object:
        if isinstance(answer, str):
            raise KeyError(call["nothing"])
        return answer

    with changed_settings(prices=fails):
        assert "estimated_cost" not in ended("openai", "gpt-4o")


def test_the_same_prices_may_be_configured_again(file: Path) -> None:
    """A file that says the same is no change, one that says something else is."""
    configure(prices=file)
    freeze()
    try:
        configure(prices=str(file))
        file.write_text(FILE.replace("0.2\n", "0.3\n"))
        with pytest.raises(ConfigurationError, match="prices cannot change now"):
            configure(prices=file)
    finally:
        thaw()
    assert str(get_settings().prices) == f"{file} (4 prices)"
