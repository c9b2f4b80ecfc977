"""`llm-audit prompts`: system prompts compared by how their calls went."""

from collections.abc import Iterator
from itertools import count

from rich.console import RenderableType
from rich.text import Text

from llm_audit.cli.connection import repository
from llm_audit.cli.drawing import terminal
from llm_audit.cli.drawing.rows import FIRST_ROWS, WEEK, LimitOfRows, cost_of, print_rows
from llm_audit.cli.options import AsJson, filtered
from llm_audit.display import figures
from llm_audit.queries.answers.summaries import PromptSummary
from llm_audit.queries.filters import CallFilters


@filtered(since=WEEK)
def prompts(*, filters: CallFilters, limit: LimitOfRows = None, as_json: AsJson = False) -> None:
    """Compare system prompts: calls, failures, latency and cost of each, most calls first.

    Two prompts are the same if every character is. The newest 20,000 calls that match are read.
    --prompt-of with the id of one of its calls asks other commands for the calls of that prompt.
    """
    with repository() as questions:
        rows = questions.prompt_summary(**filters)
    table = terminal.table(
        *("#", "prompt", "calls", "failed", "p50", "p95", "cost", "since"),
        cut="prompt",
        right="# calls failed p50 p95 cost",
    )
    numbers = count(1)

    def cells(row: PromptSummary) -> Iterator[RenderableType]:
        yield str(next(numbers))
        yield terminal.words(row.beginning)
        yield figures.number(row.calls)
        yield figures.share(row.failure_rate)
        yield figures.duration(row.p50)
        yield figures.duration(row.p95)
        yield cost_of(row, row.calls)
        yield figures.moment(row.first_seen)

    print_rows("Prompts", table, rows, filters, cells=cells, limit=limit, as_json=as_json)
    if as_json or not rows:
        return
    console = terminal.console()
    console.print(Text("\nThe newest call of each", "bold"))
    for number, row in enumerate(rows[: limit or FIRST_ROWS], start=1):
        last = f"  {figures.moment(row.last_seen)}"
        console.print(
            Text.assemble(f"{number:>2} ", (figures.cell(row.last_id), "cyan"), (last, "dim"))
        )
