"""The folders in which journals lie: this process's own, those of others, and what is kept aside.

`folder` is the folder of one process and its lock, `owners` what the lock says; `looking` finds
those of others, `adoption` takes over what the dead left, and `sightings` tells the silent from the
living. `aside` bounds what is kept of what MongoDB refused, or nobody can read.
"""
