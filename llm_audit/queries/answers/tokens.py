"""A sum of tokens, as MongoDB gives it."""

import math
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator


def _rounded(value: object) -> object:
    """Round a sum with a fraction in it: in mongosh, every number is a double."""
    return round(value) if isinstance(value, float | Decimal) and math.isfinite(value) else value


Tokens = Annotated[int, BeforeValidator(_rounded)]
