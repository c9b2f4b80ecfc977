"""What must not be stored is replaced before anything is written: secrets, and what you name.

`rule` says what a rule is, `secrets` and `personal` hold ours, `walk` goes through the values of a
document, `operators` make what stands in the place of what was found, and `apply` puts them to work
on what is about to be journaled.
"""
