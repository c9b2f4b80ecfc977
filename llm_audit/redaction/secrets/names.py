"""Names under which secrets are given: of parameters, headers, fields and variables."""

import re
from typing import Any

from llm_audit.redaction.folding import folded

_KEPT_MAX = 20_000  # names that are remembered; a program has some hundreds
_LOOKED_AT = 128  # characters at the end of a name: it may be any text

BETWEEN = r"[\s_.-]?"  # words of a name
_PARTS = re.compile(r"[\s_.-]+")
_KEYS = (
    "api|access|secret|private|signing|encryption|account|subscription|shared|master|auth|role"
    "|hmac|license|deploy|ssh"
)
SECRET = (  # each may have anything in front of it, and between its words
    rf"pass(?:w(?:or)?d|phrase|code)|pwd|secret|token|(?:{_KEYS}){BETWEEN}key|authori[sz]ation"
    rf"|cookie|credential|basic{BETWEEN}auth|conn(?:ection)?{BETWEEN}str(?:ing)?|jwt"
)
_SECRET_NAME = re.compile(f".*(?:{SECRET.replace(BETWEEN, '')})s?", re.DOTALL)
# What ends in token and is none to keep: what models and pages are counted and marked with.
_NO_TOKEN = re.compile(
    r".*(?:per|first|last|begin|start|stop|end|next|page|continuation|cursor|sync|cancellation"
    r"|input|output|backward|forward|request|lock|idempotency"
    r"|eos|bos|eot|pad|unk|mask|sep|cls|special|image|audio|decoded|predicted|sampled)token"
    r"|.*tokens"
)
# What may stand behind the name: which one it is, and of what.
ENDING = (
    r"[0-9]{1,4}|prod(?:uction)?|dev(?:elopment)?|test(?:ing)?|stag(?:e|ing)|live|sandbox|local|old|new"
    r"|current|previous|backup|default|main|primary|secondary|value|confirm(?:ation)?|repeat(?:ed)?"
    r"|plain|raw|b64|base64|openai|anthropic|google|gemini|azure|aws|github|gitlab|slack|stripe|groq"
    r"|mistral|cohere|hf|huggingface|openrouter|deepseek"
)
_ENDING = re.compile(rf"(?:{ENDING})\Z")
_HEADERS = re.compile(r"(?:\w*[_-])?headers", re.IGNORECASE)
# Headers that say nothing secret; what others hold is replaced.
_HARMLESS_HEADER = re.compile(
    r"accept.*|content-.*|user-agent|http-referer|referer|origin|host|date|server|connection|via"
    r"|cache-control|age|etag|vary|x-title|retry-after|traceparent|tracestate|transfer-encoding"
    r"|idempotency-key|x-(?:stainless|ratelimit|request|correlation|trace|envoy|amzn).*|server-.*"
    r"|x-(?:xss|frame|content|dns|powered|cache|served)-.*|p3p|expires|pragma"
    r"|.*-(?:count|latency|time|timing|ms|policy|region)|.*requestid|last-modified|report-to|nel"
    r"|anthropic-(?:version|beta|ratelimit-.*|organization-id|dangerous-.*)"
    r"|openai-(?:beta|organization|project|version|processing-ms)|.*-(?:id|version)|strict-.*|cf-.*"
    r"|alt-svc|llm_provider-(?!set-cookie).*",
    re.IGNORECASE,
)
# What stands beside a piece of text that a model calls a token.
_BESIDE_A_PIECE = frozenset(
    ("logprob", "top_logprobs", "bytes", "token_id", "id", "score", "rank", "probability", "prob")
)

_verdicts: dict[str, bool] = {}


def is_secret(name: str) -> bool:
    """Tell whether what has this name is a secret: any case, with or without separators."""
    name = name[-_LOOKED_AT:]
    known = _verdicts.get(name)
    if known is None:
        if len(_verdicts) >= _KEPT_MAX:
            _verdicts.clear()
        known = _verdicts[name] = _is_secret(name)
    return known


def _is_secret(name: str) -> bool:
    plain = _PARTS.sub("", folded(name)[0]).lower()
    if (ending := _ENDING.search(plain)) and ending.start():
        plain = plain[: ending.start()]
    return plain == "auth" or bool(_SECRET_NAME.fullmatch(plain) and not _NO_TOKEN.fullmatch(plain))


def are_headers(name: str) -> bool:
    """Tell whether what has this name is a document of headers."""
    return _HEADERS.fullmatch(name) is not None


def is_harmless_header(name: str) -> bool:
    """Tell whether a header surely holds no secret."""
    return _HARMLESS_HEADER.fullmatch(name) is not None


def is_piece_of_text(name: str, document: dict[str, Any]) -> bool:
    """Tell whether a `token` is one that a model has made, in log probabilities say."""
    return name.lower() == "token" and not _BESIDE_A_PIECE.isdisjoint(document)


def named_in(document: dict[str, Any]) -> object:
    """Return the name of a pair, {"name": …, "value": …}, that is given as a document."""
    if "value" in document:
        for beside in ("name", "key", "header"):
            if beside in document:
                return document[beside]
    return None
