"""Cube: a container orchestrator whose control plane also runs, unchanged, in simulation.

How it works, from a file to a container:

    compose        reads a Compose file into frozen values (spec)
    cli, client    send it to the manager's HTTP API (api)
    manager        keeps jobs, tasks and nodes; asks the scheduler where pending tasks go
    scheduler      filters and scores the nodes (placement, policies, fleet); proposes
    manager        checks the proposal again, saves it (store), and tells the node what to run
    worker         compares what its node should run with what it does run
    engine         starts and stops: Docker, plain processes, or a pretence of both
    worker         reports what it saw; the manager merges it, and so on for ever

Manager, scheduler and worker are cores: `receive(message, now) -> list of effects`, with two
effects, `Save` and `Send`. A core reads no clock, draws no random number and blocks on nothing,
so it decides by its messages alone, can be replayed from a recording (record), and is tested by
comparing lists.

`actor` hosts a core in a Pykka actor: it receives, saves, then sends. `world` runs these actors
on threads in real time; `sim.world` runs them on SimPy in virtual time. Only the clock, the
network and the engine differ between the two.

`messages` is the catalogue of all that actors tell one another; `task` has the one table of a
task's states. What runs is never told by commands that could get lost: an `Assign` says all that a
node should run, a `Report` all that it does run, and the next one repairs whatever went wrong
with the last.

Start reading at `messages`, then `manager/__init__`: each `receive` is a table of contents.
"""

__version__ = "0.1.0"
