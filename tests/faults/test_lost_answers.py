"""The answer lost after the server has executed the batch: nothing doubled, nothing lost."""

import pymongo
import pytest
from faults import proxy
from faults.promises import child, judge
from faults.table import Report
from patience import LONG
from waiting import Recording

FAULTS = {
    proxy.cut: "answer cut off after the batch",
    proxy.cut_in_the_middle: "answer cut off in its middle",
    proxy.half_close: "half-closed socket instead of an answer",
    proxy.delay: "answer delayed",
    proxy.one_byte_at_a_time: "answer 1 byte at a time",
}
# On a replica set the driver itself sends a write again that it has no answer to.
CASES = [
    pytest.param(spoil, replicated, id=f"{spoil.__name__}-{'driver' if replicated else 'recorder'}")
    for spoil in FAULTS
    for replicated in (False, True)
    if LONG or replicated == (spoil in {proxy.cut_in_the_middle, proxy.half_close})
]


@pytest.mark.parametrize(("spoil", "replicated"), CASES)
def test_lost_answers_double_nothing(
    recording: Recording,
    request: pytest.FixtureRequest,
    report: Report,
    spoil: proxy.Spoil,
    *,
    replicated: bool,
) -> None:
    """Where every third answer to a write does not come as it should, calls arrive once."""
    server = request.getfixturevalue("replica_set" if replicated else "mongod")
    each = 300 if LONG else 40
    with proxy.proxy(server, spoil) as between:
        settings = recording(mongo_url=between.url, batch_size=10)
        with child(settings, threads=2, calls=each) as process:
            process.wait()
    with pymongo.MongoClient(server.url) as client:
        verdict = judge(client[settings.database]["llm_calls"], [process])
        client.drop_database(settings.database)
    who = "driver" if replicated else "recorder"
    report(f"{FAULTS[spoil]}, {who} retries", between.spoiled, verdict)
    assert len(process.promises) == 2 * each
    assert process.stats["acked_through"] == process.stats["recorded"]
