"""Prices of the user's own: a file of them, or a function.

The file is TOML: a price needs a comment (whose contract, until when), and Python reads it itself.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from llm_audit.errors import let_through
from llm_audit.spelling import did_you_mean, nearest

Rate = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]
PriceFunction = Callable[[dict[str, Any]], Any]
_TABLE = "price"


class OwnPrice(BaseModel):
    """What calls to some models cost; a rate that is not given is none, see `docs/how-to/costs`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: Annotated[str, Field(min_length=1, strict=True)]
    provider: Annotated[str, Field(min_length=1, strict=True)] = "*"
    input: Rate | None = None
    output: Rate | None = None
    cached: Rate | None = None
    written: Rate | None = None
    request: Rate = 0.0


class OwnPrices(NamedTuple):
    """A file's prices; of those that fit a call, the first counts."""

    path: str
    listed: tuple[OwnPrice, ...]

    def __str__(self) -> str:
        """Return what `llm-audit config` shows."""
        return f"{self.path} ({len(self.listed)} prices)"


def read_prices(given: Any) -> Any:
    """Return the prices of a file; a function, and None, as they are.

    Raises:
        ValueError: The file cannot be read, or a price in it is wrong; the message names it.
    """
    if given is None or callable(given) or isinstance(given, OwnPrices):
        return given
    if not isinstance(given, str | Path):
        raise ValueError(  # noqa: TRY004 - pydantic makes one error of it
            "give the path of a TOML file, or a function that takes a call and returns USD"
        )
    path = str(given).encode(errors="replace").decode()  # it may be no text, and is shown
    try:
        content = tomllib.loads(Path(given).expanduser().read_text("utf-8"))
    except OSError as error:
        let_through(error)
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    except (RuntimeError, ValueError) as error:  # no home folder, a null byte
        let_through(error)
        raise ValueError(f"cannot read {path!r}: {error}") from None
    if unknown := content.keys() - {_TABLE}:
        raise ValueError(f"{path}: {min(unknown)!r:.50} is not [[{_TABLE}]], which each price is")
    tables = content.get(_TABLE)
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{path} has no [[{_TABLE}]]")
    numbered = enumerate(tables, 1)
    return OwnPrices(path, tuple(_price(table, f"{path}, {_TABLE} {n}") for n, table in numbered))


def _price(table: Any, where: str) -> OwnPrice:
    try:
        price = OwnPrice.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "it"
        problem = first["msg"]
        if first["type"] == "extra_forbidden":
            problem = f"no such field.{did_you_mean(nearest(name, OwnPrice.model_fields))}"
        raise ValueError(f"{where}: {name}: {problem}") from None
    if price.model_fields_set.isdisjoint({"input", "output", "request"}):
        raise ValueError(f"{where}: give input, output or request, in USD per million tokens")
    return price
