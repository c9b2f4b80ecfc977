"""Under which conditions a call was sold: service tier, batch, speed, region."""

from collections.abc import Mapping
from typing import Any

from llm_audit.providers.fields import at, fields_of, spelled

# Where usages and responses say it, and how the price list calls that.
_DIMENSION_BY_PATH = {
    "service_tier": "service_tier",
    "serviceTier": "service_tier",
    "service_tier.type": "service_tier",
    "serviceTier.type": "service_tier",
    "trafficType": "service_tier",
    "traffic_type": "service_tier",
    "response_metadata.service_tier": "service_tier",
    "performanceConfig.latency": "speed",
    "speed": "speed",
    "inference_geo": "region",
}
NAMES = frozenset(path.partition(".")[0] for path in _DIMENSION_BY_PATH)
"""The fields of a usage or response that say it."""

STANDARD = frozenset(
    {
        *("default", "standard", "auto", "on_demand", "standard_only", "unspecified"),
        *("traffic_type_unspecified", "service_tier_unspecified", "service_tier_default"),
        *("global", "not_available", "tokens"),
    }
)
"""The words, in lower case, for what is sold at the standard price."""

_CONDITION_BY_WORD = {
    "batch": ("processing", "batch"),
    "batches": ("processing", "batch"),
    "on_demand_flex": ("service_tier", "flex"),
    "on_demand_priority": ("service_tier", "priority"),
    "service_tier_flex": ("service_tier", "flex"),
    "service_tier_priority": ("service_tier", "priority"),
}


def conditions_of(*said: Mapping[str, Any]) -> dict[str, str]:
    """Return what is not standard, in the words of the price list where it has any.

    Args:
        *said: The usage, and what else is known of the response; the first that says it counts.
    """
    found: dict[str, str] = {}
    settled: set[str] = set()
    for fields in said:
        if NAMES.isdisjoint(fields):
            continue
        for path, dimension in _DIMENSION_BY_PATH.items():
            value = fields.get(path) if "." not in path else _inner(fields, path)
            word = (spelled(value) or "").lower()
            if not word or dimension in settled:
                continue
            settled.add(dimension)
            if word not in STANDARD:
                name, condition = _CONDITION_BY_WORD.get(word, (dimension, word))
                found[name] = condition
    return found


def _inner(fields: Mapping[str, Any], path: str) -> object:
    outer = fields.get(path.partition(".")[0])
    return at(fields, path) if fields_of(outer) else None
