"""A context for each request of a web app: its calls share a trace, and know user and session."""

from llm_audit.middleware.asgi import AuditASGIMiddleware
from llm_audit.middleware.wsgi import AuditWSGIMiddleware

__all__ = ["AuditASGIMiddleware", "AuditWSGIMiddleware"]
