"""A process folder that is closed to its own process for a while."""

import json

from children import output_of
from waiting import Calls, Recording

# Becomes another user, as root may look into everything, and closes its folder to itself.
RECORD_BEHIND_A_CLOSED_DOOR = """
import json, logging, os, sys, tempfile
from pathlib import Path
import llm_audit
from llm_audit import LLMLogger
from llm_audit.journal.segments import written
from llm_audit.recorder.process import running
from patience import PATIENCE

logging.disable()  # that the disk refuses is known
written.REOPEN_AFTER_SECONDS = 0
messages = [{"role": "user", "content": "x" * 200}]
LLMLogger.complete(LLMLogger.start(model="m", messages=messages))
assert llm_audit.shutdown(PATIENCE)  # all that is imported late has been, before it cannot be
with tempfile.TemporaryDirectory(dir="/tmp") as spool:
    if os.geteuid() == 0:
        os.chown(spool, 65534, 65534)
        os.seteuid(65534)
    llm_audit.configure(spool_dir=spool, segment_max_bytes=2_000)
    ids = [LLMLogger.start(model="m", messages=[])]
    folder = Path(running().journal.folder)
    os.chmod(folder, 0)
    ids += [LLMLogger.start(model="m", messages=messages) for _ in range(30)]
    os.chmod(folder, 0o700)
    ids += [LLMLogger.start(model="m", messages=messages) for _ in range(30)]
    assert llm_audit.flush(PATIENCE)
    stats = llm_audit.stats()
    print(json.dumps([ids, stats["recorded"], stats["dropped"]], default=str))
    llm_audit.shutdown(PATIENCE)
    os.seteuid(os.getuid())
"""


def test_a_closed_folder_loses_nothing(recording: Recording, calls: Calls) -> None:
    """With no right to look into it (mode 000), segments end and begin, and all calls arrive."""
    (line,) = output_of(RECORD_BEHIND_A_CLOSED_DOOR, recording())
    ids, recorded, dropped = json.loads(line)

    assert (len(ids), recorded, dropped) == (61, 61, [])
    assert calls.count_documents({"_id": {"$in": ids}}) == 61
