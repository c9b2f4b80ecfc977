"""`llm-audit reprice`: what stored calls cost by today's prices."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress

from llm_audit.cli.connection import collection_of_calls
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.json_rows import print_json_rows
from llm_audit.cli.exits import say
from llm_audit.cli.options import AsJson, described, filtered
from llm_audit.display import figures
from llm_audit.queries.filters import CallFilters
from llm_audit.queries.steps import Document
from llm_audit.settings import configure

if TYPE_CHECKING:
    from llm_audit.cli.connection import Documents
    from llm_audit.prices import Cost

_BATCH = 500
_MODELS_MAX = 1_000  # then they are counted together


class Also(StrEnum):
    """Costs that are left alone unless they are named."""

    CALLER = "caller"
    BILLED = "billed"


@dataclass
class _Sum:
    """The changes of one model's calls."""

    calls: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    had_none: int = 0


@dataclass
class _Done:
    """What became of the calls."""

    by_model: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def note(self, call: Document, cost: "Cost", before: float | None) -> None:
        """Count a call whose cost changes, by its model."""
        names = (str(call.get("provider")), str(call.get("model")))
        if names not in self.by_model and len(self.by_model) >= _MODELS_MAX:
            names = ("other", "models")
        changes = self.by_model.setdefault(names, _Sum())
        changes.calls += 1
        changes.before += Decimal(before or 0.0)
        changes.after += Decimal(cost.usd)
        changes.had_none += before is None

    def rows(self) -> list[dict[str, Any]]:
        """Return what changes by model, the largest change first."""
        rows = [
            {
                "provider": provider,
                "model": model,
                "calls": each.calls,
                "without_cost_before": each.had_none,
                "before": float(each.before),
                "after": float(each.after),
                "change": float(each.after - each.before),
            }
            for (provider, model), each in self.by_model.items()
        ]
        return sorted(rows, key=lambda row: -abs(row["change"]))


@filtered(leave_out=("prompt_of",))
def reprice(
    *,
    filters: CallFilters,
    apply: Annotated[bool, typer.Option("--apply", help="Write it, not only show it.")] = False,
    also: Annotated[
        list[Also] | None,
        typer.Option(
            metavar="SOURCE",
            help="Also costs that the caller gave (caller), or the provider billed (billed).",
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Prices of your own; LLM_AUDIT_PRICES if not given."),
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="ID", help="Only calls after this one, to go on.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute what calls cost again, from the usage that was reported; show what changes by model.

    Without --apply nothing is written. With it, the old cost stays visible in
    cost_details.previous, and a call that ends anew meanwhile keeps what its end says. Prices are
    those of the time at which a call ended, as far as the price list knows them. A call for which
    there is no price now keeps its cost.

    It may be stopped at any time. Run it again: what is done already counts as before, or go on
    with --after.
    """
    from llm_audit.queries.repricing import calls_to_price

    if prices is not None:
        configure(prices=prices)
    wanted = calls_to_price(filters, frozenset(also or ()))
    done = _Done()
    with collection_of_calls() as collection:
        last = after
        try:
            with _progress(collection, wanted) as on:
                for batch in _batches(collection, wanted, after):
                    _price(collection, batch, done, apply=apply)
                    last = str(batch[-1]["_id"])
                    on(len(batch))
        except KeyboardInterrupt:
            say(f"Stopped. To go on: --after {last}" if last else "Stopped before the first call.")
            raise
    if as_json:
        print_json_rows(done.rows())
    else:
        _show(done, filters)
    _report(done, apply=apply)


def _batches(
    collection: "Documents", wanted: dict[str, Any], after: str | None
) -> Iterator[list[Document]]:
    """Yield the calls in the order of their ids, some at a time, each read with a query of its own.

    One cursor for all of them would time out, and see calls twice that grow while it runs.
    """
    from llm_audit.queries.repricing import SHOWN
    from llm_audit.store.connection import readable_only

    reading = readable_only(collection)
    while True:
        on = {"$and": [wanted, {"_id": {"$gt": after or ""}}]}
        batch = list(reading.find(on, SHOWN).sort("_id", 1).limit(_BATCH))
        if not batch:
            return
        yield batch
        after = batch[-1]["_id"]


def _price(collection: "Documents", batch: list[Document], done: _Done, *, apply: bool) -> None:
    from pymongo import UpdateOne

    from llm_audit.queries.repricing import (
        cost_before,
        cost_now,
        is_another,
        new_cost,
        still_as_read,
    )

    now = datetime.now(UTC)
    updates = []
    for call in batch:
        cost, before = cost_now(call), cost_before(call)
        if cost is None:
            done.calls["no price"] += 1
        elif is_another(cost, before):
            done.note(call, cost, before)
            updates.append(UpdateOne(still_as_read(call), new_cost(call, cost, now)))
        else:
            done.calls["as before"] += 1
    done.calls["changed"] += len(updates)
    if apply and updates:
        result = collection.bulk_write(updates, ordered=False)
        done.calls["ended anew meanwhile"] += len(updates) - result.matched_count


@contextmanager
def _progress(collection: "Documents", wanted: dict[str, Any]) -> Iterator[Callable[[int], object]]:
    """Show how far it is, where somebody looks at stderr; give what moves it on."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with Progress(console=terminal.console(stderr=True)) as progress:
        task = progress.add_task("Pricing", total=collection.count_documents(wanted))
        yield lambda calls: progress.advance(task, calls)


def _show(done: _Done, filters: CallFilters) -> None:
    console = terminal.console()
    console.print(terminal.heading("What changes", described(filters)))
    rows = done.rows()
    if not rows:
        console.print("Nothing.")
        return
    table = terminal.table(
        *("provider", "model", "calls", "no cost before", "before", "after", "change"),
        cut="model",
        right="calls before after change",
    )
    for row in rows:
        sign = "+" if row["change"] > 0 else "-" if row["change"] < 0 else ""
        table.add_row(
            figures.safe(row["provider"]),
            figures.safe(row["model"]),
            figures.number(row["calls"]),
            figures.number(row["without_cost_before"]) if row["without_cost_before"] else "",
            figures.money(row["before"]),
            figures.money(row["after"]),
            f"{sign}{figures.money(abs(row['change']))}",
        )
    console.print(terminal.fitted(table, console))


def _report(done: _Done, *, apply: bool) -> None:
    changed = done.calls["changed"] - done.calls["ended anew meanwhile"]
    verb = "were changed" if apply else "would change"
    say(
        f"{figures.counted(changed, 'call')} {verb}; {done.calls['as before']:,} cost what they "
        f"did, {done.calls['no price']:,} have no price now and stay as they are."
    )
    if missed := done.calls["ended anew meanwhile"]:
        say(f"{figures.counted(missed, 'call')} ended anew meanwhile, and keep what that says.")
    if not apply and changed:
        say("Nothing was written: --apply writes it.")
