"""Published results, done again: each module repeats one, and says how near it comes.

Figures that others published stand in `published.toml` with their source, and nowhere else. They
are only ever compared with, never used to get a result.
"""
