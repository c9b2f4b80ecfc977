from itertools import chain

from llm_audit.store.indexes import (
    call_indexes,
    media_indexes,
    process_indexes,
    purpose_of,
    view_indexes,
)


def test_every_index_says_what_it_serves() -> None:
    """Whoever declares an index says in a few words what for; others' indexes have no purpose."""
    declared = [
        *call_indexes(text=True),
        *view_indexes(),
        *process_indexes(),
        *chain.from_iterable(media_indexes().values()),
    ]
    purposes = {index.document["name"]: purpose_of(index.document["name"]) for index in declared}

    assert [name for name, purpose in purposes.items() if not purpose] == []
    assert max(len(purpose or "") for purpose in purposes.values()) <= 30
    assert purpose_of("theirs") is None
