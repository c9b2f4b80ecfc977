"""How long calls take: percentiles by model, task, day ..., and all of them over time."""

from math import inf

from llm_audit.display.courses import Course
from llm_audit.display.figures import duration
from llm_audit.web.asked import Asked
from llm_audit.web.drawing.charts import line, places, round_top
from llm_audit.web.drawing.heatmap import heatmap
from llm_audit.web.page import Page
from llm_audit.web.pages.summaries.groups import grouping_of, view_of
from llm_audit.web.pages.summaries.over_time import USUAL, bucket_for, named, ticks_of


async def page(asked: Asked) -> Page:
    """Show the percentiles of each group, the slowest first; hours, days ... oldest first."""
    by = grouping_of(asked)
    filters = asked.filters(since=USUAL)
    rows = await asked.calls.latency_summary(by, timezone=asked.zone, **filters)
    view = view_of(asked, by, rows, filters)
    return Page("summaries/latency", "Latency", {"rows": rows, "by": by}, view)


async def over_time(asked: Asked) -> Page:
    """Show two percentiles over time."""
    filters = asked.filters(since=USUAL)
    bucket = bucket_for(filters)
    rows = await asked.calls.latency_summary(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, rows, named="group", timezone=asked.zone, filters=filters)
    top = round_top(max((row.p95 for row in rows), default=0))
    said = [
        f"p50 {duration(row.p50)}, p95 {duration(row.p95)}" if row else "no calls"
        for row in course.rows()
    ]
    view = {
        "series": {name: line(course.values(name), top) for name in ("p50", "p95")},
        "top": top,
        "columns": places(len(said)),
        **named(asked, course, said),
    }
    return Page("parts/latency", "Latency", {"over_time": rows}, view)


async def heat(asked: Asked) -> Page:
    """Show how many calls took how long, over time."""
    filters = asked.filters(since=USUAL)
    bucket = bucket_for(filters)
    cells = await asked.calls.latency_heatmap(bucket, timezone=asked.zone, **filters)
    course = Course(bucket, cells, named="bucket", timezone=asked.zone, filters=filters)
    picture = heatmap(course, cells)
    times = course.spans()
    links = [
        asked.during(
            [times[one.place]],
            min_latency_ms=max(one.min_latency_ms, filters.get("min_latency_ms", 0)) or None,
            max_latency_ms=min(one.max_latency_ms, filters.get("max_latency_ms", inf)),
        )[0]
        for one in picture.squares
    ]
    names = [asked.written(start) for start, _ in times]
    view = {
        "picture": picture,
        "bucket": bucket,
        "names": names,
        "links": links,
        "ticks": ticks_of(asked, course),
    }
    return Page("parts/heat", "Latency", {"cells": cells}, view)
