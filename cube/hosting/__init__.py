"""The processes of a cluster on several machines: `manager` on one of them, `worker` on each.

Each module puts together what one process needs, starts it and ends it in good order. A cluster in
one process is `cube.cluster`.
"""
