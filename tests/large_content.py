"""Calls with an image that moves to GridFS, and what is there."""

import hashlib
from typing import Any

import gridfs
from waiting import Calls

from llm_audit import LLMLogger

IMAGE = "QUJD" * 100_000
MESSAGES = [{"role": "user", "image": IMAGE}]


def sha256_of(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def start(**fields: Any) -> str:
    return LLMLogger.start(model="m", **{"messages": MESSAGES, **fields})


def stored(calls: Calls, sha256: str) -> bytes:
    return gridfs.GridFSBucket(calls.database).open_download_stream(sha256).read()


def counts(calls: Calls) -> tuple[int, int]:
    """Return how many entries and how many chunks there are."""
    database = calls.database
    return database["fs.files"].count_documents({}), database["fs.chunks"].count_documents({})
