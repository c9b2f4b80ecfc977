"""What questions return, and how it is put together of what MongoDB gives.

`results` has a model for each kind of row; traces, tasks and conversations are made of their calls.
"""
