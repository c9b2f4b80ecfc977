"""Who has started an asyncio task: the code of a Celery task, or a library for itself.

What the code of a task starts and leaves behind is cancelled. What a client runs in the background
for its connections is not, since clients are to be kept: the monitor of an AsyncMongoClient, once
cancelled, never starts again.
"""

import asyncio
import site
import sysconfig
from pathlib import Path
from types import FrameType

_ASYNCIO = str(Path(asyncio.__file__).parent)
_LIBRARIES = tuple(
    {
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def is_started_by(module: str, frame: FrameType | None) -> bool:
    """Tell whether the code around a module starts what is started in a frame.

    That is, whether the innermost frame outside of asyncio is no installed library's, or is of the
    package of the module, which may be installed itself.

    Args:
        module: The name of the module.
        frame: Where `create_task` is called.
    """
    while frame is not None and frame.f_code.co_filename.startswith(_ASYNCIO):
        frame = frame.f_back
    if frame is None:
        return False
    if not frame.f_code.co_filename.startswith(_LIBRARIES):
        return True
    package: str = (frame.f_globals.get("__name__") or "").partition(".")[0]
    return package == module.partition(".")[0]
