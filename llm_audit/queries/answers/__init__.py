"""What questions return, and how it is put together of what MongoDB gives.

`lines` and `summaries` have a model for each kind of row. Traces, tasks and conversations are made
of their calls.
"""
