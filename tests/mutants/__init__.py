"""Mutants: bugs put into the cores on purpose, to see that somebody notices.

`named` plants ways in which real orchestrators failed, `generated` every changed comparison,
constant and dropped call. `judge` runs one in a process of its own against tests and seeds of the
fault simulator; `python -m tests.mutants` is the command.
"""
