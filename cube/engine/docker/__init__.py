"""Tasks as Docker containers: `engine` is the engine, the other modules are its parts."""
