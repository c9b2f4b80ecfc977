"""Tasks that keep the interpreter to themselves."""

import time

from audited_tasks import app
from patience import PATIENCE

from llm_audit import LLMLogger


@app.task
def spin(seconds: float) -> str:
    """Have a call open that MongoDB knows of, and let nothing else run for a while."""
    call_id = LLMLogger.start(model="gpt-4", messages=[{"role": "user", "content": "spinning"}])
    call_id.wait(PATIENCE)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    LLMLogger.complete(call_id)
    return str(call_id)
