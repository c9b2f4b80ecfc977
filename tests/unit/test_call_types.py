"""Call types of a user's own, and statuses that only a later version knows."""

import copy
import json
import pickle
from enum import Enum
from typing import Any

import bson
import pytest
from pydantic import BaseModel, TypeAdapter

from llm_audit import LLMCallStatusEnum, LLMCallTypeEnum, LLMLogger, UsageError
from llm_audit.settings import changed_settings
from llm_audit.testing import RecordedCalls

OWN = "PRODUCT_GAP"
LONG = "X" * 65


class Kind(Enum):
    """A user's own enum of call types."""

    GAP = "product_gap"


class Hostile:
    """An object that cannot be read at all."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


@pytest.mark.parametrize("enum", [LLMCallTypeEnum, LLMCallStatusEnum])
def test_a_name_that_is_not_declared_behaves_like_a_member(
    enum: type[LLMCallTypeEnum | LLMCallStatusEnum],
) -> None:
    """It is a member of its class and a str in everything but listing."""
    own, same = enum(OWN), enum(OWN.lower())

    assert (own, own.value, own.name, str(own), f"{own}") == (same, OWN, OWN, OWN, OWN)
    assert own == OWN
    assert hash(own) == hash(OWN)
    assert own != enum("OTHER_ONE")
    for copied in (pickle.loads(pickle.dumps(own)), copy.deepcopy(own), copy.copy(own)):
        assert (type(copied), copied) == (enum, own)
    assert json.loads(json.dumps({"type": own})) == {"type": OWN}
    assert bson.decode(bson.encode({"type": own})) == {"type": OWN}
    assert OWN not in [*enum, *enum.__members__]
    assert own not in enum
    assert OWN not in enum
    assert [] not in enum


def test_declared_names_stay_what_they_are() -> None:
    """They are found in any case, and are one object each."""
    assert LLMCallTypeEnum("chat") is LLMCallTypeEnum.CHAT
    assert pickle.loads(pickle.dumps(LLMCallTypeEnum.CHAT)) is LLMCallTypeEnum.CHAT
    assert LLMCallTypeEnum.CHAT in LLMCallTypeEnum
    assert "CHAT" in LLMCallTypeEnum
    assert len(LLMCallTypeEnum) == 14


def test_pydantic_reads_and_dumps_it() -> None:
    """Models with such a field take it from Python and JSON, and give it back in both."""

    class Model(BaseModel):
        call_type: LLMCallTypeEnum
        status: LLMCallStatusEnum = LLMCallStatusEnum.PENDING

    model = Model.model_validate({"call_type": OWN, "status": "PAUSED"})
    assert Model.model_validate_json(model.model_dump_json()) == model
    assert model.model_dump(mode="json") == {"call_type": OWN, "status": "PAUSED"}
    schema = TypeAdapter(LLMCallTypeEnum).json_schema()
    assert {"type": "string", "maxLength": 64} in schema["anyOf"]
    assert "CHAT" in str(schema)


def test_what_is_no_name_is_a_value_error() -> None:
    """Neither an empty name nor a long one nor another type."""
    for wrong in ("", "  ", LONG, 5, None, b"CHAT", []):
        with pytest.raises(ValueError, match="not a valid"):
            LLMCallTypeEnum(wrong)


def test_names_are_not_kept() -> None:
    """A stream of new names fills no memory."""
    for number in range(1000):
        LLMCallTypeEnum(f"TYPE_{number}")
    assert "TYPE_7" not in str(vars(LLMCallTypeEnum))


@pytest.mark.parametrize("given", [OWN, "product_gap", LLMCallTypeEnum(OWN), Kind.GAP], ids=repr)
def test_a_type_of_ones_own_is_recorded(llm_audit_records: RecordedCalls, given: Any) -> None:
    """It is stored in capitals, however it was given."""
    LLMLogger.complete(LLMLogger.start(call_type=given, model="m", messages=[]))
    [call] = llm_audit_records
    assert call.call_type == LLMCallTypeEnum(OWN)
    assert json.loads(call.model_dump_json())["call_type"] == OWN


def test_any_text_up_to_64_characters_is_kept(llm_audit_records: RecordedCalls) -> None:
    """Spaces, other alphabets, what BSON refuses: none of it stops a call."""
    for given in ("product gap", "Größe", "\udc80odd", "a\0b", "X" * 64):
        LLMLogger.start(call_type=given, model="m", messages=[])
    kept = [call.call_type for call in llm_audit_records]
    assert kept == ["PRODUCT GAP", "GRÖSSE", "\\UDC80ODD", "A\0B", "X" * 64]


@pytest.mark.parametrize(
    ("given", "kept"), [(LONG, LONG[:64]), ("", "OTHER"), (5, "OTHER"), (Hostile(), "OTHER")]
)
def test_what_is_no_type_is_a_mistake(
    llm_audit_records: RecordedCalls, caplog: pytest.LogCaptureFixture, given: Any, kept: str
) -> None:
    """Strict mode raises; else it is logged, and what was given is in request_params, whole."""
    with pytest.raises(UsageError, match="call_type"):
        LLMLogger.start(call_type=given, model="m", messages=[])
    with changed_settings(strict=False):
        for _ in range(2):
            LLMLogger.start(call_type=given, model="m", messages=[])
    assert len(caplog.messages) == 1
    assert "call_type" in caplog.messages[0]
    assert LONG not in caplog.messages[0]
    for call in llm_audit_records:
        assert call.call_type == kept
        if isinstance(given, str):
            assert call.request_params.get("call_type", "") == given


def test_a_status_of_ones_own_is_still_a_mistake(llm_audit_records: RecordedCalls) -> None:
    """How calls end is not for users to extend."""
    call_id = LLMLogger.start(model="m", messages=[])
    with pytest.raises(UsageError, match="status 'NONSENSE' is not terminal"):
        LLMLogger.complete(call_id, status="NONSENSE")
    with pytest.raises(UsageError, match="not terminal"):
        LLMLogger.complete(call_id, status=LLMCallStatusEnum("NONSENSE"))
    with changed_settings(strict=False):
        LLMLogger.complete(call_id, status="NONSENSE")
    assert [call.status for call in llm_audit_records] == ["SUCCESS"]
