"""What is written -> what is placed and run."""

import pytest

from cube import spec
from cube.compose import read_job


def job_of(text: str) -> spec.JobSpec:
    return read_job("-", {}, stdin="name: job\n" + text).job


def task(body: str, volumes: str = "") -> spec.TaskSpec:
    """The service with this flow mapping, beside its image."""
    text = f"services: {{a: {{image: x, {body}}}}}\nvolumes: {{{volumes}}}"
    return job_of(text).services[0]


def test_the_least_service_has_the_defaults_of_a_spec() -> None:
    least = spec.TaskSpec(name="a", image="x")
    assert job_of("services: {a: {image: x}}") == spec.JobSpec("job", (least,), source="-")


@pytest.mark.parametrize(
    ("resources", "counted", "limits"),
    [
        ("{}", (100, 128), (None, None)),
        ("{limits: {cpus: 2}}", (2000, 128), (2000, None)),
        ("{limits: {memory: 64M}}", (100, 64), (None, 64)),
        ("{reservations: {cpus: 0.25}}", (250, 128), (None, None)),
        ("{reservations: {cpus: 0.25}, limits: {cpus: 1, memory: 1g}}", (250, 1024), (1000, 1024)),
        ("{reservations: {memory: 1025k}, limits: {memory: 10241k}}", (100, 2), (None, 11)),
        ("{reservations: {cpus: '0.0001', memory: 1}}", (1, 1), (None, None)),
    ],
)
def test_reservations_are_counted_then_limits_then_defaults(
    resources: str, counted: tuple[int, int], limits: tuple[int | None, int | None]
) -> None:
    read = task(f"deploy: {{resources: {resources}}}")
    assert (read.cpu_milli, read.memory_mib) == counted
    assert (read.cpu_limit_milli, read.memory_limit_mib) == limits


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("replicated", spec.Kind.SERVICE),
        ("global", spec.Kind.GLOBAL),
        ("replicated-job", spec.Kind.BATCH),
        ("global-job", spec.Kind.GLOBAL_BATCH),
    ],
)
def test_modes(mode: str, kind: spec.Kind) -> None:
    read = task(f"deploy: {{mode: {mode}}}")
    assert (read.kind, read.instances) == (kind, 1)


SERVICE, BATCH = "", ", deploy: {mode: replicated-job}"
FOREVER = spec.ReschedulePolicy()


@pytest.mark.parametrize(
    ("body", "restart", "reschedule"),
    [
        ("init: true", spec.SERVICE_RESTART, FOREVER),
        ("deploy: {mode: replicated-job}", spec.BATCH_RESTART, spec.ReschedulePolicy(1)),
        ("restart: no", spec.RestartPolicy("none", 0), spec.ReschedulePolicy(0)),
        ("restart: 'no'", spec.RestartPolicy("none", 0), spec.ReschedulePolicy(0)),
        ("restart: always", spec.RestartPolicy("any", None), FOREVER),
        ("restart: unless-stopped", spec.RestartPolicy("any", None), FOREVER),
        ("restart: on-failure", spec.RestartPolicy("on-failure", None), FOREVER),
        ("restart: on-failure:4", spec.RestartPolicy("on-failure", 4), FOREVER),
        (
            "deploy: {restart_policy: {condition: none}}",
            spec.RestartPolicy("none", 2),
            spec.ReschedulePolicy(0),
        ),
        (
            "deploy: {restart_policy: {max_attempts: 9, window: 1m, delay: 1s}}",
            spec.RestartPolicy("any", 9, 60.0, 1.0),
            FOREVER,
        ),
        (
            "restart: always, deploy: {restart_policy: {delay: 0}}",
            spec.RestartPolicy("any", None, 1800.0, 0.0),
            FOREVER,
        ),
        (
            "restart: always, x-cube: {restart: {attempts: 3, interval: 5m, delay: 1s}}",
            spec.RestartPolicy("any", 3, 300.0, 1.0),
            FOREVER,
        ),
        (
            "x-cube: {restart: {attempts: unlimited}}",
            spec.RestartPolicy("any", None),
            FOREVER,
        ),
        (
            "restart: no, x-cube: {reschedule: {attempts: 2, delay: 1s}}",
            spec.RestartPolicy("none", 0),
            spec.ReschedulePolicy(2, 1.0),
        ),
        (
            "deploy: {mode: replicated-job}, x-cube: {reschedule: {attempts: unlimited}}",
            spec.BATCH_RESTART,
            spec.ReschedulePolicy(None),
        ),
        (
            "deploy: {mode: replicated-job}, x-cube: {reschedule: {max_delay: 1m}}",
            spec.BATCH_RESTART,
            spec.ReschedulePolicy(1, 30.0, 60.0),
        ),
    ],
)
def test_restarts(
    body: str, restart: spec.RestartPolicy, reschedule: spec.ReschedulePolicy
) -> None:
    read = task(body)
    assert (read.restart, read.reschedule) == (restart, reschedule)


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ("80", [spec.Port(80)]),
        ("'80/udp'", [spec.Port(80, None, "udp")]),
        ("8080:80", [spec.Port(80, 8080)]),
        ("22:22", [spec.Port(22, 22)]),
        ("'127.0.0.1:8080:80/udp'", [spec.Port(80, 8080, "udp", "127.0.0.1")]),
        ("'127.0.0.1::80'", [spec.Port(80, None, "tcp", "127.0.0.1")]),
        ("'127.0.0.1:80'", [spec.Port(80, None, "tcp", "127.0.0.1")]),
        ("'[::1]:8080:80'", [spec.Port(80, 8080, "tcp", "::1")]),
        ("'80-81'", [spec.Port(80), spec.Port(81)]),
        ("'90-91:80-81'", [spec.Port(80, 90), spec.Port(81, 91)]),
        ("{target: 80}", [spec.Port(80)]),
        ("{target: 80, published: '8080', protocol: udp}", [spec.Port(80, 8080, "udp")]),
        ("{target: 80, published: 81, host_ip: 10.0.0.1}", [spec.Port(80, 81, "tcp", "10.0.0.1")]),
    ],
)
def test_ports(written: str, ports: list[spec.Port]) -> None:
    assert list(task(f"ports: [{written}]").ports) == ports


@pytest.mark.parametrize(
    ("written", "mount"),
    [
        ("'d:/x'", spec.Mount("volume", "d", "/x")),
        ("'d:/x:ro'", spec.Mount("volume", "d", "/x", read_only=True)),
        ("'named:/x'", spec.Mount("volume", "other", "/x")),
        ("'s:/x'", spec.Mount("volume", "s", "/x", shared=True)),
        ("/x", spec.Mount("volume", "", "/x")),
        ("'/h:/x:rw,Z'", spec.Mount("bind", "/h", "/x")),
        ("{type: volume, source: d, target: /x}", spec.Mount("volume", "d", "/x")),
        ("{type: volume, target: /x}", spec.Mount("volume", "", "/x")),
        (
            "{type: bind, source: /h, target: /x, read_only: true, x-cube: {shared: true}}",
            spec.Mount("bind", "/h", "/x", read_only=True, shared=True),
        ),
        ("{type: tmpfs, target: /x}", spec.Mount("tmpfs", "", "/x")),
        (
            "{type: tmpfs, target: /x, tmpfs: {size: 1025k}}",
            spec.Mount("tmpfs", "", "/x", size_mib=2),
        ),
    ],
)
def test_mounts(written: str, mount: spec.Mount) -> None:
    volumes = "d: , named: {name: other, driver: local}, s: {x-cube: {shared: true}}"
    assert task(f"volumes: [{written}]", volumes).mounts == (mount,)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("echo 'a b' c", ("echo", "a b", "c")),
        ("[echo, a b, 3, 1.10, true]", ("echo", "a b", "3", "1.10", "true")),
        ("''", ()),
        ("[]", ()),
    ],
)
def test_commands(written: str, words: tuple[str, ...]) -> None:
    assert task(f"command: {written}").command == words
    assert task(f"entrypoint: {written}").entrypoint == words


@pytest.mark.parametrize(
    ("written", "test"),
    [
        ("test: curl -f x", ("CMD-SHELL", "curl -f x")),
        ("test: [CMD, curl, x]", ("CMD", "curl", "x")),
        ("test: [CMD-SHELL, curl x]", ("CMD-SHELL", "curl x")),
        ("test: NONE", ("NONE",)),
        ("test: [NONE]", ("NONE",)),
        ("disable: true", ("NONE",)),
        ("disable: true, test: x", ("NONE",)),
    ],
)
def test_health(written: str, test: tuple[str, ...]) -> None:
    read = task(f"healthcheck: {{{written}}}")
    assert read.healthcheck == spec.HealthCheck(test)
    assert read.has_health is (test != ("NONE",))


@pytest.mark.parametrize(
    ("written", "check"),
    [
        ("http: ':80/health?a=b'", spec.PortCheck(80, "/health?a=b")),
        ("http: 80/", spec.PortCheck(80, "/")),
        ("http: ':8080'", spec.PortCheck(8080, "/")),
        ("http: {port: 80, path: /up}", spec.PortCheck(80, "/up")),
        ("tcp: 5432", spec.PortCheck(5432)),
        (
            "tcp: ':5432', interval: 1s, timeout: 3s, retries: 5, start_period: 1m",
            spec.PortCheck(5432, None, 1.0, 3.0, 5, 60.0),
        ),
    ],
)
def test_network_checks(written: str, check: spec.PortCheck) -> None:
    read = task(f"x-cube: {{check: {{{written}}}}}")
    assert (read.check, read.healthcheck, read.has_health) == (check, None, True)


def test_what_goes_straight_through() -> None:
    read = task(
        "user: 1000, working_dir: /w, stop_signal: SIGINT, stop_grace_period: 1m30s, init: true,"
        " pull_policy: if_not_present, privileged: 'true', cap_add: [A], cap_drop: [B],"
        " devices: ['/dev/a:/dev/b:r'], shm_size: 64k, logging: {driver: local, options: {a: 1}},"
        " extra_hosts: {h: 10.0.0.1}, labels: [b=2], deploy: {labels: {a: 1, b: 1}},"
        " depends_on: {b: {condition: service_healthy, required: true, restart: false}}}, b: {"
        "image: y, healthcheck: {test: z}"
    )
    assert read == spec.TaskSpec(
        name="a",
        image="x",
        user="1000",
        working_dir="/w",
        stop_signal="SIGINT",
        stop_grace_seconds=90.0,
        init=True,
        privileged=True,
        cap_add=("A",),
        cap_drop=("B",),
        devices=("/dev/a:/dev/b:r",),
        shm_size_bytes=65536,
        log_driver="local",
        log_options=(("a", "1"),),
        extra_hosts=(("h", "10.0.0.1"),),
        labels=(("a", "1"), ("b", "2")),
        depends_on=(spec.Dependency("b", "healthy"),),
    )


def test_the_order_of_variables_and_labels_makes_no_new_version() -> None:
    one = task("environment: {A: 1, B: 2}, labels: {a: 1, b: 2}")
    two = task("labels: [b=2, a=1], environment: [B=2, A=1]")
    assert one == two


@pytest.mark.parametrize(
    ("written", "constraint"),
    [
        ("node.labels.disk == ssd", ("node.labels.disk", "==", "ssd")),
        ("node.labels.disk==ssd", ("node.labels.disk", "==", "ssd")),
        ("node.hostname != a-b.c", ("node.hostname", "!=", "a-b.c")),
        ("node.labels.example/zone == a b", ("node.labels.example/zone", "==", "a b")),
        ("node.datacenter == dc1", ("node.datacenter", "==", "dc1")),
        ("node.name == n1", ("node.name", "==", "n1")),
    ],
)
def test_constraints(written: str, constraint: tuple[str, str, str]) -> None:
    (read,) = task(f"deploy: {{placement: {{constraints: ['{written}']}}}}").constraints
    assert (read.attribute, read.operator, read.value) == constraint
