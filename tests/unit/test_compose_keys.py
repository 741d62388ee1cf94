"""Each key: what is refused, where, and with which remedy."""

import pytest

from cube.compose import SpecError, read_job


def problems(text: str) -> list[str]:
    """What is found, as `line:column: text. remedy`."""
    with pytest.raises(SpecError) as caught:
        read_job("-", {}, stdin=text + "\nname: job\n")
    return [str(problem).removeprefix("<stdin>:") for problem in caught.value.problems]


def in_service(line: str) -> str:
    """The one problem of a service `web` with this line, which is line 4."""
    (problem,) = problems(
        f"services:\n  web:\n    image: x\n    {line}\n  db: {{image: y}}\nvolumes: {{data: }}"
    )
    return problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("comand: x", "4:5: unknown key `comand`. Did you mean `command`?"),
        ("xyzzy: 1", "4:5: unknown key `xyzzy`. Remove it; `cube schema` lists all keys."),
        ("build: .", "4:5: Compose's `build` is not supported by Cube. Build and push"),
        ("network_mode: host", "4:5: Compose's `network_mode` is not supported by Cube."),
        ("profiles: [a]", "4:5: Compose's `profiles` is not supported by Cube."),
        ("extends: y", "4:5: Compose's `extends` is not supported by Cube."),
        ("mem_limit: 1g", "Write `deploy.resources.limits.memory`."),
        ("x-cube: {check: {}}", "4:14: `check`: it has neither `http` nor `tcp`. Write one of"),
        ("x-cube: {check: {tcp: 80, http: ':80/'}}", "4:14: `check`: it has both `http` and `tcp`"),
        ("x-cube: {check: {tcp: ':0'}}", "4:27: `tcp`: ':0' is not a port. Write a number from"),
        ("x-cube: {check: {tcp: 70000}}", "4:27: `tcp`: 70000 is not a port."),
        (
            "x-cube: {check: {http: /health}}",
            "4:28: `http`: '/health' cannot be asked for. Write the container's port and a path",
        ),
        ("x-cube: {check: {http: ':80/a b'}}", "':80/a b' cannot be asked for."),
        (
            "x-cube: {check: {http: {port: 80, path: health}}}",
            "4:45: `path`: 'health' is not a path. Begin it with '/'",
        ),
        ("x-cube: {check: {http: {path: /}}}", "4:22: `port` is missing. Add it."),
        ("x-cube: {check: {tcp: 80, timeout: 2}}", "`timeout`: 2 is not a duration."),
        ("x-cube: {check: {grpc: 80}}", "unknown key `grpc`."),
        ("x-cube: {prioritty: 3}", "4:14: unknown key `prioritty`."),
        ("init: yes", "4:11: `init`: must be true or false, not 'yes'. Write true."),
        ("privileged: 'off'", "4:17: `privileged`: must be true or false, not 'off'. Write false."),
        ("init: 1", "must be true or false, not 1."),
        ("user: [1]", "4:5: `user`: must be a single value, not a list."),
        ("image2: x", "Did you mean `image`?"),
        ("command: echo 'x", "4:14: `command`: 'echo 'x' has an open quote."),
        ("working_dir: here", "'here' is not an absolute path. Begin it with '/'."),
        ("ports: 80", "4:12: `ports` must be a list, not 80."),
        ("ports: [0]", "4:13: `ports`: '0' is not a port. Ports go from 1 to 65535."),
        ("ports: ['80:99999']", "4:13: `ports`: '99999' is not a port."),
        ("ports: ['a:80']", "4:13: `ports`: 'a:80' is not a port. Write '80', '8080:80'"),
        ("ports: ['1-3:80']", "host and container ports are not equally many"),
        ("ports: ['1-300']", "'1-300' holds too many ports"),
        ("ports: ['80/sctp']", "'sctp' is not supported by Cube. Write tcp or udp"),
        ("ports: ['300.1.1.1:80:80']", "'300.1.1.1' is not an address."),
        ("ports: [{published: 80}]", "4:13: `target` is missing. Add it."),
        ("volumes: ['data:/x:rshared']", "mount option 'rshared' is not supported by Cube"),
        ("volumes: ['data::/x']", "'data::/x' is not a mount. Write 'name:/path'"),
        ("volumes: ['~bob/x:/x']", "'~bob/x' names another user's folder."),
        ("volumes: ['dat:/x']", "4:15: volume `dat` is not declared. Did you mean `data`?"),
        ("volumes: ['other:/x']", "Add `other:` to the job's `volumes`."),
        ("volumes: ['data:/x', '/y:/x']", "4:26: two mounts at /x."),
        ("volumes: [{type: bnd, target: /x}]", "Did you mean bind?"),
        ("volumes: [{type: bind, source: x, target: /x}]", "a bind mount needs a host path."),
        ("volumes: [{type: tmpfs, source: x, target: /x}]", "a tmpfs mount has no source."),
        ("tmpfs: '/x:mode=1'", "tmpfs option 'mode=1' is not supported by Cube."),
        ("tmpfs: '/x:size=1q'", "'1q' is not a size."),
        ("labels: {cube.job: x}", "label 'cube.job' belongs to Cube. Choose another prefix."),
        ("environment: [A=1, A=2]", "'A' is written twice."),
        ("environment: {A: [1]}", "the value of 'A' must be a single value, not a list."),
        ("environment: ['A B=1']", "'A ...' is not the name of a variable."),
        ("environment: [' =1']", "' ...' is not the name of a variable."),
        ("environment: {A B: 1}", "'A ...' is not the name of a variable."),
        ("environment: 3", "must be a mapping or a list, not a single value."),
        ("env_file: [no.env]", "4:16: env_file no.env: there is no such file."),
        ("stop_signal: kill me", "'kill me' is not a signal."),
        ("stop_grace_period: 30", "30 is not a duration. Write a number with its unit"),
        ("stop_grace_period: -3s", "'-3s' is not a duration. A duration is not negative."),
        ("pull_policy: daily", "'daily' is not supported by Cube. Write missing"),
        ("ulimits: {nofile: {soft: 9, hard: 3}}", "soft limit 9 is above hard limit 3."),
        ("ulimits: {nofile: {soft: 9}}", "`hard` is missing."),
        ("ulimits: {nofile: -2}", "must be at least -1, not -2."),
        ("devices: [ttyUSB0]", "'ttyUSB0' is not a device."),
        ("extra_hosts: [a]", "'a' names no host and address. Write 'host:address'."),
        ("shm_size: -5m", "'-5m' is not a size. A size is not negative."),
        ("shm_size: {}", "must be a size, not a mapping."),
        ("restart: sometimes", "'sometimes' is not a way to restart. Write 'no', always"),
        ("restart: false", "false is not a way to restart."),
        ("healthcheck: {interval: 5s}", "4:5: `healthcheck`: `test` is missing."),
        ("healthcheck: {test: [ls]}", "this is no health test."),
        ("healthcheck: {test: ls, interval: 0s}", "`interval` must be more than 0"),
        ("healthcheck: {test: ls, retries: 0}", "`retries` must be at least 1, not 0."),
        ("depends_on: [wbe]", "which is not a service here. Did you mean `web`?"),
        ("depends_on: [web]", "services wait for one another: web -> web."),
        ("depends_on: [a, a]", "'a' is written twice."),
        ("depends_on: {db: {condition: helthy}}", "`condition` must be 'service_started',"),
        ("depends_on: {db: {required: false}}", "false is not supported by Cube."),
        ("deploy: 3", "4:13: `deploy` must be a mapping, not 3. Check the indentation."),
        ("deploy: {replicas: -1}", "4:24: `replicas` must be at least 0, not -1."),
        ("deploy: {replicas: many}", "`replicas`: must be a whole number, not 'many'."),
        ("deploy: {replicas: 1.5}", "must be a whole number, not 1.5."),
        ("deploy: {mode: globl}", "Did you mean global?"),
        ("deploy: {mode: global, replicas: 2}", "has no `replicas`."),
        ("deploy: {endpoint_mode: vip}", "Compose's `endpoint_mode` is not supported by Cube."),
        ("deploy: {update_config: {parallelism: 2}}", "2 is not supported by Cube. Write 1"),
        (
            "deploy: {update_config: {order: start-first}}",
            "'start-first' is not supported by Cube.",
        ),
        ("deploy: {resources: {limits: {pids: 9}}}", "Compose's `pids` is not supported by Cube."),
        ("deploy: {resources: {limits: {cpus: -1}}}", "A number of cores is not negative."),
        ("deploy: {resources: {limits: {cpus: 250m}}}", "Write a number of cores, as in 0.25."),
        ("deploy: {resources: {limits: {cpus: 0}}}", "`cpus` must be at least 1, not 0."),
        ("deploy: {resources: {limits: {memory: 256}}}", "too small. Write at least 6M"),
        ("deploy: {resources: {reservations: {memory: 0}}}", "nothing cannot be reserved."),
        (
            "deploy: {resources: {reservations: {cpus: 2}, limits: {cpus: 1}}}",
            "4:66: the limit of `cpus` is below its reservation. Raise it.",
        ),
        (
            "deploy: {resources: {reservations: {memory: 2g}, limits: {memory: 1g}}}",
            "the limit of `memory` is below its reservation.",
        ),
        (
            "deploy: {placement: {constraints: [node.role == manager]}}",
            "Every Cube node runs tasks",
        ),
        ("deploy: {placement: {constraints: [engine.labels.a == b]}}", "Compare node.hostname,"),
        ("deploy: {placement: {constraints: [a]}}", "'a' is not a constraint."),
        ("deploy: {placement: {constraints: [node.labels.a > b]}}", "is not a constraint."),
        ("deploy: {placement: {max_replicas_per_node: 0}}", "must be at least 1, not 0."),
        (
            "deploy: {placement: {preferences: [{spread: rack}]}}",
            "'rack' is nothing to spread over.",
        ),
        (
            "deploy: {mode: replicated-job, restart_policy: {condition: any}}",
            "cannot be restarted on",
        ),
        ("x-cube: {disk: much}", "'much' is not a size."),
        ("x-cube: {spread: {mode: maybe}}", "`mode` must be 'prefer', 'require' or 'none'"),
        ("x-cube: {on_disconnect: stopp}", "Did you mean stop?"),
        ("x-cube: {restart: {attempts: -1}}", "must be at least 0, not -1."),
        ("x-cube: {reschedule: {attempts: ever}}", "must be a whole number, not 'ever'."),
    ],
)
def test_one_problem_of_a_service(line: str, problem: str) -> None:
    found = in_service(line)
    assert problem in found
    assert found.startswith("4:")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {a: {}}", "1:12: `image` is missing. Add it."),
        ("services: {a: }", "1:15: `a` must be a mapping, not nothing."),
        ("services: {a: {image: ''}}", "1:23: `image` is empty."),
        ("services: {a: {image: 5}}", "1:23: `image`: must be text, not the value 5. Put it in"),
        ("services: {}", "1:1: `services` is empty. Add at least one."),
        ("services: [a]", "1:1: `services` must be a mapping, not a list."),
        ("service: {a: {image: x}}", "1:1: unknown key `service`. Did you mean `services`?"),
        ("services: {A_b: {image: x}}", "1:12: 'A_b' cannot be a name. Use 1 to 40 of a-z"),
        ("services: {A_b: {image: x}}", "as in a-b."),
        (
            "services: {a: {image: x}}\nsecrets: {a: {}}",
            "2:1: Compose's `secrets` is not supported",
        ),
        ("services: {a: {image: x}}\ninclude: [b]", "2:1: Compose's `include` is not supported"),
        (
            "services: {a: {image: x}}\nx-cube: {priority: 101}",
            "2:20: `priority` must be at most 100",
        ),
        ("services: {a: {image: x}}\nx-cube: {datacenters: dc1}", "Write [dc1, dc2]."),
        (
            "services: {a: {image: x}}\nvolumes: {d: {driver: nfs}}",
            "2:23: `driver`: 'nfs' is not supp",
        ),
        (
            "services: {a: {image: x}}\nvolumes: {d: {external: true}}",
            "`external: true` is not supp",
        ),
        ("services: {a: {image: x}}\nvolumes: {'a b': }", "'a b' cannot name a volume."),
        ("services: {a: {image: x}, a: {image: y}}", "`a` is written twice; first in line 1."),
    ],
)
def test_one_problem_of_a_job(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert problem in found


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("deploy: {mode: global}", "5:20: `global` runs on every node, and the job is kept"),
        (
            "deploy: {replicas: 3, placement: {max_replicas_per_node: 2}}",
            "3 instances cannot be together, with 2 on a node at most. Change it, or remove",
        ),
        (
            "deploy: {replicas: 2}\n    x-cube: {spread: {mode: require}}",
            "6:14: instances that must be spread cannot be together on one node.",
        ),
        (
            "deploy: {replicas: 2}\n    ports: ['80:80']",
            "6:13: instances on one node cannot share a host port, and the job is kept together.",
        ),
        ("x-cube: {gpu: {share: 0.5}}\n    deploy: {replicas: 2}", "GPUs are whole ones of the"),
    ],
)
def test_what_can_never_be_on_one_node(line: str, problem: str) -> None:
    text = f"services:\n  web:\n    image: x\n    restart: always\n    {line}\n"
    assert read_job("-", {}, stdin=f"{text}name: job\n").job.together is False
    (found,) = problems(f"{text}x-cube: {{together: true}}")
    assert problem in found


def test_one_node_may_have_what_fits_on_one() -> None:
    gpus = "x-cube: {gpu: {models: [T4]}}, deploy: {replicas: 2}"
    text = f"""
    name: job
    x-cube: {{together: true}}
    services:
      web: {{image: x, ports: ['80:80'], x-cube: {{gpu: {{models: [T4], count: 2}}}}}}
      db: {{image: x, {gpus}}}
      cache: {{image: x, x-cube: {{spread: {{by: node}}}}, deploy: {{replicas: 2}}}}
    """
    reading = read_job("-", {}, stdin=text)
    assert reading.job.together
    assert [warning.text for warning in reading.warnings] == [
        "`spread` has no effect in a job that is kept together"
    ]
