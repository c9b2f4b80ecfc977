"""What the demo runs on: mongod, redis-server, the provider, a worker; gone when it is left."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import llm_audit
from llm_audit import embedded
from llm_audit.demo import provider
from llm_audit.demo.worker import Worker
from llm_audit.embedded.server import HOST

DATABASE = "llm_audit_demo"


@dataclass(frozen=True)
class Stage:
    """Everything that runs, and the environment in which a process finds it."""

    mongod: embedded.Mongod | embedded.External
    redis: embedded.Redis
    worker: Worker
    folder: Path
    environment: dict[str, str]


@contextmanager
def stage() -> Iterator[Stage]:
    """Start the servers, the provider and the worker, and point this process at them.

    Yields:
        What runs; the worker is started but not ready.

    Raises:
        EmbeddedUnavailableError: There is no mongod or redis-server here.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llm-audit-demo-")))
        mongod = stack.enter_context(embedded.mongod())
        redis = stack.enter_context(embedded.redis_server())
        provider_url = stack.enter_context(provider.serve())
        environment = {
            "LLM_AUDIT_MONGO_URL": mongod.url,
            "LLM_AUDIT_DATABASE": DATABASE,
            "LLM_AUDIT_SPOOL_DIR": str(folder / "spool"),
            "CELERY_BROKER_URL": redis.url,
            "CELERY_RESULT_BACKEND": redis.url,
            "OPENAI_BASE_URL": provider_url,
            "OPENAI_API_KEY": "demo",
        }
        os.environ.update(environment, no_proxy=HOST)
        llm_audit.configure()  # whoever started the demo may have read the settings already
        stack.callback(llm_audit.shutdown)
        worker = stack.enter_context(Worker(folder))
        yield Stage(mongod, redis, worker, folder, environment)
