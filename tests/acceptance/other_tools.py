"""Other tools that write into the headers of Celery's messages, set up as their users do."""

import sentry_sdk
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from sentry_sdk.integrations.celery import CeleryIntegration


def set_up() -> None:
    """Have both trace every task, and send nothing anywhere."""
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        integrations=[CeleryIntegration()],
        auto_enabling_integrations=False,  # else it imports every framework that is installed
        traces_sample_rate=1.0,
        transport=lambda _: None,
    )
    trace.set_tracer_provider(TracerProvider())
    CeleryInstrumentor().instrument()
