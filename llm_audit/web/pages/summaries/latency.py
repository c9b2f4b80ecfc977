"""How long calls take: percentiles by model, task, day ..., and all of them over time."""

from typing import get_args

from llm_audit.display.courses import Course, group_name
from llm_audit.queries.grouping import Bucket
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.heatmap import heatmap
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.costs import BY, SHOWN, grouping_of, links_of
from llm_audit.web.pages.summaries.overview import USUAL, bucket_for


async def page(asked: Asked) -> Page:
    """Show the percentiles of each group, the slowest first; hours, days ... oldest first."""
    by = grouping_of(asked)
    filters = asked.filters(since=USUAL)
    rows = await asked.calls.latency_summary(by, timezone=asked.zone, **filters)
    is_time = by in get_args(Bucket)
    return Page(
        "summaries/latency",
        "Latency",
        {"rows": rows, "by": by},
        {
            "usual": USUAL,
            "choices": BY,
            "is_time": is_time,
            "shown": rows[:SHOWN],
            "name": lambda name: group_name(by, name),
            "links": links_of(asked, by, rows if is_time else rows[:SHOWN], filters),
        },
    )


async def heat(asked: Asked) -> Page:
    """Show how many calls took how long, over time."""
    filters = asked.filters(since=USUAL)
    bucket = bucket_for(filters)
    cells = await asked.calls.latency_heatmap(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, cells, named="bucket", timezone=asked.zone, filters=filters)
    picture = heatmap(course, cells)
    spans = course.spans()
    names = [asked.written(start) for start, _ in spans]
    view = {"picture": picture, "links": asked.during(spans), "names": names, "bucket": bucket}
    return Page("parts/heat", "Latency", {"cells": cells}, view)
