"""What every call inherits from where it is made: ids, tags, metadata, and the Celery task."""

from llm_audit.context.blocks import AuditContext, audit_context, carry_context
from llm_audit.context.frames import (
    Frame,
    Stay,
    current_context,
    enter,
    enter_lazily,
    leave,
    put_back,
    put_in_force,
)
from llm_audit.context.inherited import (
    INHERITED,
    NOWHERE,
    CallContext,
    SharedTrace,
    identifier,
    merge_metadata,
    type_of_call,
    unite_tags,
)

__all__ = [
    "INHERITED",
    "NOWHERE",
    "AuditContext",
    "CallContext",
    "Frame",
    "SharedTrace",
    "Stay",
    "audit_context",
    "carry_context",
    "current_context",
    "enter",
    "enter_lazily",
    "identifier",
    "leave",
    "merge_metadata",
    "put_back",
    "put_in_force",
    "type_of_call",
    "unite_tags",
]
