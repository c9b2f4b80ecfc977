"""OpenAI's images, speech and transcriptions, and the runs of its assistants."""

from collections.abc import Iterable
from typing import Any

from llm_audit.wire.api import Assembled, Event
from llm_audit.wire.assembly.pieces import add_item, add_text, grow, joined
from llm_audit.wire.frames import DONE

_IMAGE = "b64_json"
_OF_AN_EVENT = frozenset({"type", "partial_image_index"})


def assemble_images(events: Iterable[Event]) -> Assembled:
    """Return the answer that images make; of one that never came whole, what came last of it."""
    body: dict[str, Any] = {}
    images: list[dict[str, Any]] = []
    partial, complete, error = None, False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        kind = str(data.get("type") or name)
        error = data.get("error") or error
        if kind.endswith(".completed"):
            images.append({_IMAGE: data.get(_IMAGE)})
            others = {k: v for k, v in data.items() if k not in {*_OF_AN_EVENT, _IMAGE}}
            body.update({"created" if k == "created_at" else k: v for k, v in others.items()})
            complete = True
        elif _IMAGE in data:
            partial = data[_IMAGE]
    if not images and partial is not None:
        images = [{_IMAGE: partial}]
    if images:
        body["data"] = images
    return Assembled(body, complete, finished=complete, error=error)


def assemble_audio(events: Iterable[Event]) -> Assembled:
    """Return the text of a transcription, or what is said of speech; its sound is left out."""
    body: dict[str, Any] = {}
    complete, error = False, None
    for name, data in events:
        if not isinstance(data, dict):
            continue
        kind = str(data.get("type") or name)
        error = data.get("error") or error
        if kind.endswith(".done"):
            body.update({k: v for k, v in data.items() if k not in _OF_AN_EVENT})
            complete = True
        elif kind.endswith(".segment"):
            add_item(body, "segments", {k: v for k, v in data.items() if k not in _OF_AN_EVENT})
        elif kind.startswith("transcript."):
            add_text(body, "text", data.get("delta"))
    return Assembled(joined(body), complete, finished=complete, error=error)


def assemble_run(events: Iterable[Event]) -> Assembled:
    """Return the run as it was last, under `messages` and `steps` what else came with it."""
    run: dict[str, Any] = {}
    others: dict[str, dict[str, dict[str, Any]]] = {"messages": {}, "steps": {}}
    complete, error = False, None
    for name, data in events:
        if data == DONE:
            complete = True
        elif name == "error":
            error = data
        elif isinstance(data, dict):
            kind = str(data.get("object"))
            if kind == "thread.run":
                run = data
            elif (of := _LISTED.get(kind.removesuffix(".delta"))) is not None:
                item = others[of].setdefault(str(data.get("id")), {})
                if not kind.endswith(".delta"):
                    item.clear()
                    item.update(data)
                elif isinstance(delta := data.get("delta"), dict):
                    grow(item, delta)
    listed = {name: joined(list(items.values())) for name, items in others.items() if items}
    finished = run.get("status") not in (None, "queued", "in_progress")
    return Assembled({**run, **listed}, complete, finished, error)


_LISTED = {"thread.message": "messages", "thread.run.step": "steps"}
