"""Published results, done again: each module repeats one, and says how near it comes.

Figures that others published are only ever compared with, never used to get a result.
"""
