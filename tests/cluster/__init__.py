"""A cluster in a box: several machines with a Docker engine each, on one Linux machine.

    python -m tests.cluster up           three machines for workers, one for a manager
    python -m tests.cluster shell node-1
    python -m tests.cluster chaos        on machines of its own, and judged

Read in this order: `machine` (processes, mounts and network of its own; can lose power), `switch`
(its cables can be pulled), `engine` (dockerd on a machine), `box` (all of them together), `control`
(Cube on it). `chaos` lets things go wrong there: `plan` draws what, `actions` and `users` do it.
"""
