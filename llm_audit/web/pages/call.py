"""One call: how it ended and why, what was said, and everything else that is known of it."""

from llm_audit.call import SAID
from llm_audit.display.facts import facts_of
from llm_audit.documents import LLMCall
from llm_audit.encoding.moved import without_strangers
from llm_audit.errors import UsageError
from llm_audit.queries.lookup import Missing, find_call
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.said import exchange_of
from llm_audit.web.page import Page
from llm_audit.web.pages.missing import missing_page


async def page(asked: Asked) -> Page:
    """Show a call."""
    wanted = asked.one("id")
    if wanted is None:
        raise UsageError("Which call? Name it with ?id=.")
    found = await asked.calls.ask(find_call(wanted))
    if isinstance(found, Missing):
        return missing_page(found)
    document = without_strangers(found)
    call = LLMCall.model_validate(document)
    known = call.model_dump(exclude=set(SAID))
    return Page(
        "call",
        f"Call {call.id}",
        {"call": document},
        {"known": known, "facts": list(facts_of(known)), "said": exchange_of(document)},
    )
