"""Tasks that are coroutine functions: `install(app, coroutines=True)` has them run.

`bodies` finds them, `running` runs one to its end, in the loop that `loops` keeps for its thread;
`steps` watches what goes on in it meanwhile.
"""
