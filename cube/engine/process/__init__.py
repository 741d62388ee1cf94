"""Tasks as plain processes: `engine` is the engine, `shim` watches over each of them.

For tests and for machines without Docker. Honoured are command and entrypoint, environment,
working directory, user, published ports (as `CUBE_PORT_<container>` in the environment: the port
to listen on), health check, stop signal and grace. Images, mounts, limits, capabilities and
devices mean nothing to a plain process: sizes are counted by placement, and not enforced.
"""
