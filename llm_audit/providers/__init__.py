"""What providers say, read once.

`shapes` is the table of APIs: what each of them calls things. By it `response` reads an answer, and
`blocks` walks through messages, for `messages` (what was said, part by part) and `tool_calls`
(which tools are asked for). `usage` reads token counts, and `fields` takes an SDK's objects for
dicts.
"""
