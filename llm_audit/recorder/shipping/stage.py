"""The stage between the journal and MongoDB: rules that are too slow for the thread that calls.

What they look for is on this machine's disk, in the journal, until it has been shipped.
"""

import math
import re
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson

from llm_audit.encoding.moved import reference_in
from llm_audit.encoding.single_values import CODEC_OPTIONS
from llm_audit.errors import log_once
from llm_audit.journal.blob_files import sha256_of
from llm_audit.journal.records import OWNS, STARTS, Record
from llm_audit.journal.statements.bare import unsaid
from llm_audit.journal.unread import AS_STORED, made_of
from llm_audit.redaction.apply import Redaction, Rewriting
from llm_audit.redaction.operators import replacement
from llm_audit.settings import Settings

NAME = "redact_in_shipper"
_STARTS_MAX = 10_000  # whose outcome is still to come
# How media begin, as far as a preview shows it: text may begin with a line of dashes, or as a URL.
_MEDIA_BEGINS = re.compile(
    r"(?:data:[\w.+-]{1,64}/[\w.+-]{1,64}(?:;[\w.=+-]{1,64}){0,4};base64,)?"
    r"(?=[^\d]*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9+/_=-]+"
)


class Stage:
    """What redacts each record of a journal once, before it is sent.

    Args:
        settings: Which say by what rules.
    """

    def __init__(self, settings: Settings) -> None:
        here = {"redact": settings.redact_in_shipper, "redact_secrets": False}
        self._redaction = Redaction(settings.model_copy(update=here), budget_seconds=math.inf)
        self._starts: OrderedDict[str, _Start] = OrderedDict()

    def __call__(self, record: Record) -> Record:
        """Return a record as it may be sent; without text and ids, where that cannot be told."""
        began = self._start_of(record)
        try:
            # what could not be read before is read here: rules for fields have to find them
            return self._redacted(made_of(record), began)
        except BaseException as fault:  # noqa: BLE001  (of foreign code: `sys.exit`, a panic in Rust)
            log_once(
                f"redact_in_shipper failed with {type(fault).__name__}: until it is fixed, calls "
                "are stored without their text and ids."
            )
            rest, gone = unsaid(record, f"dropped: {NAME} failed")
            return rest._replace(redacted=_counted(record, began, Counter({NAME: gone})))

    def _redacted(self, record: Record, began: "_Start") -> Record:
        fields = bson.decode(record.doc, AS_STORED)
        unseen = _Unseen()
        if record.blobs:
            fields = unseen.taken_from(fields)
        if record.op in STARTS:
            began.call_type = fields.get("call_type")
        rewriting = Rewriting(self._redaction, began.call_type)
        return record._replace(
            doc=bson.encode(rewriting.attempt(fields), codec_options=CODEC_OPTIONS),
            notes=(*rewriting.lines(record.notes), *unseen.notes),
            redacted=_counted(record, began, Counter(rewriting.counts_with(unseen.counts))),
            blobs=[name for name in record.blobs if sha256_of(name) not in unseen.hashes],
        )

    def _start_of(self, record: Record) -> "_Start":
        """Return what is known of the start of a record's call."""
        if record.op not in STARTS:
            known = self._starts.pop if record.op in OWNS else self._starts.get
            return known(record.id, None) or _Start()
        start = self._starts.setdefault(record.id, _Start())
        if len(self._starts) > _STARTS_MAX:
            self._starts.popitem(last=False)
        return start


@dataclass(slots=True)
class _Start:
    """The start of a call: its type, which its end does not say, and what was replaced in it."""

    call_type: object = None
    counts: Counter[str] = field(default_factory=Counter)


def _counted(record: Record, began: _Start, counts: Counter[str]) -> Mapping[str, int]:
    """Return what was replaced; the outcome of a call counts what its start has lost, too."""
    total = +(
        Counter(record.redacted) + counts + (began.counts if record.op in OWNS else Counter())
    )
    if record.op in STARTS:
        began.counts.update(counts)
    return total


class _Unseen:
    """Text that was too large for a document and is in a file: no rule sees it, so it is left out.

    Attributes:
        hashes: Of what was left out.
    """

    def __init__(self) -> None:
        self.hashes: set[str] = set()

    @property
    def notes(self) -> Sequence[str]:
        return [f"{len(self.hashes)} texts left out: too large for {NAME}"] if self.hashes else ()

    @property
    def counts(self) -> Mapping[str, int]:
        return {NAME: len(self.hashes)} if self.hashes else {}

    def taken_from(self, value: Any) -> Any:
        """Return a value with a mark in the place of each such text; media stay."""
        if isinstance(value, list):
            return [self.taken_from(item) for item in value]
        if not isinstance(value, dict):
            return value
        reference = reference_in(value)
        if reference is None:
            return {key: self.taken_from(item) for key, item in value.items()}
        if reference.kind == "bytes" or _MEDIA_BEGINS.fullmatch(value.get("preview", "")):
            return value
        self.hashes.add(reference.sha256)
        mark = replacement("remove", NAME, "", None)
        return {mark: ""} if reference.kind == "dict" else mark
