"""Under which conditions a call was sold: service tier, batch, speed, region."""

from collections.abc import Mapping
from typing import Any

from llm_audit.providers.fields import at, spelled
from llm_audit.providers.whole import OURS, SOLD_AS

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
    f"{OURS}.{SOLD_AS}": "service_tier",
}
_PATHS_BY_NAME: dict[str, list[tuple[str, str]]] = {}
for _path, _dimension in _DIMENSION_BY_PATH.items():
    _PATHS_BY_NAME.setdefault(_path.partition(".")[0], []).append((_path, _dimension))
NAMES = frozenset(_PATHS_BY_NAME)
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
    for fields in said:
        for name in NAMES.intersection(fields):
            value = fields[name]
            if type(value) is str and value in STANDARD:
                continue
            for path, dimension in _PATHS_BY_NAME[name]:
                word = (spelled(at(fields, path)) or "standard").lower()
                if word not in STANDARD:
                    found.setdefault(*_CONDITION_BY_WORD.get(word, (dimension, word)))
    return found
