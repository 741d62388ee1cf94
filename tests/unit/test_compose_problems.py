"""What is wrong with a file is told all at once, where it is, with what to do."""

import textwrap

import pytest

from cube.compose import SpecError, read_job
from cube.compose.problem import Problem


def problems(text: str) -> list[str]:
    """What is found, as `line:column: text. remedy`."""
    with pytest.raises(SpecError) as caught:
        read_job("-", {}, stdin=textwrap.dedent(text) + "\nname: job\n")
    return [str(problem).removeprefix("<stdin>:") for problem in caught.value.problems]


def warnings(text: str) -> list[str]:
    reading = read_job("-", {}, stdin=textwrap.dedent(text) + "\nname: job\n")
    return [str(warning).removeprefix("<stdin>:") for warning in reading.warnings]


@pytest.mark.parametrize(
    ("service", "volume", "remedy"),
    [
        ("{image: x, volumes: ['d:/d'], deploy: {replicas: 2}}", "d: {}", "in its volume"),
        ("{image: x, volumes: ['/d:/d'], deploy: {replicas: 2}}", "d: {}", "in the long form"),
        ("{image: x, volumes: ['d:/d'], deploy: {mode: global}}", "d: {}", "in its volume"),
        ("{image: x, volumes: ['d:/d'], deploy: {replicas: 2}}", "d: {x-cube: {shared: true}}", ""),
        ("{image: x, volumes: ['d:/d']}", "d: {}", ""),
        ("{image: x, volumes: ['/d'], deploy: {replicas: 2}}", "d: {}", ""),
        ("{image: x, tmpfs: /d, deploy: {replicas: 2}}", "d: {}", ""),
    ],
)
def test_several_instances_need_shared_data(service: str, volume: str, remedy: str) -> None:
    text = f"services: {{a: {service}}}\nvolumes: {{{volume}}}\nname: job"
    if remedy:
        (problem,) = problems(text.removesuffix("\nname: job"))
        assert "on one node only" in problem
        assert remedy in problem
    else:
        assert read_job("-", {}, stdin=text).job.name == "job"


def test_a_host_port_is_published_once_in_a_file() -> None:
    found = problems(
        """
        services:
          a: {image: x, ports: ["80:80", "53:53/udp"]}
          b: {image: x, ports: ["127.0.0.1:80:8080", "53:53/tcp", "81-83:81-83"]}
          c: {image: x, ports: ["82:1"]}
        """
    )
    assert [line.split(".")[0] for line in found] == [
        "4:25: host port 80/tcp is already published by `a`",
        "5:25: host port 82/tcp is already published by `b`",
    ]


def test_instances_on_one_node_cannot_share_a_host_port() -> None:
    (found,) = problems(
        "services: {a: {image: x, ports: ['80:80'],"
        " deploy: {replicas: 4, placement: {max_replicas_per_node: 2}}}}"
    )
    assert "instances on one node cannot share a host port" in found


def test_dependencies_that_never_come_true() -> None:
    found = problems(
        """
        services:
          db: {image: x, healthcheck: {test: [NONE]}}
          web:
            image: x
            depends_on:
              db: {condition: service_healthy}
          job:
            image: x
            depends_on:
              web: {condition: service_completed_successfully}
        """
    )
    assert found == [
        "7:7: `db` has no health: its healthcheck is disabled. Enable it.",
        "11:7: `web` never completes: it is a service. "
        "Write `deploy: {mode: replicated-job}` in `web`.",
    ]


def test_one_of_two_health_checks() -> None:
    found = problems(
        "services: {a: {image: x, healthcheck: {test: x}, x-cube: {check: {tcp: 80}}},"
        " b: {image: x, healthcheck: {disable: true}, x-cube: {check: {tcp: 80}}},"
        " c: {image: x, depends_on: {b: {condition: service_healthy}}}}"
    )
    assert found == [
        "1:59: `healthcheck` and `x-cube.check` both say when it is healthy. Remove one of them."
    ]


def test_each_cycle_is_reported() -> None:
    found = problems(
        """
        services:
          a: {image: x, depends_on: [b]}
          b: {image: x, depends_on: {a: {condition: service_started}}}
          c: {image: x, depends_on: [c]}
        """
    )
    assert len(found) == 2
    assert all("services wait for one another" in line for line in found)


def test_preferences_and_spread_contradict() -> None:
    (found,) = problems(
        "services: {a: {image: x, x-cube: {spread: {}},"
        " deploy: {placement: {preferences: [{spread: node.labels.a}]}}}}"
    )
    assert "say the same thing twice" in found


def test_everything_is_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems(
        """
        version: "3"
        servces: {}
        services:
          web:
            imag: nginx
            privileged: yes
            ports: ["80:80", {target: 99999}, "80:81"]
            deploy: {mode: replicatd, resources: {limits: {memory: 1M, cpus: x}}}
            volumes: [dta:/x, "data:relative"]
            ulimits: {nofile: {soft: x, hard: 1}}
          db:
            image: ${DB:?choose one}
            image: postgres
            depends_on: [wbe]
            ports: ["80:80"]
        volumes: {data: }
        """
    )
    assert [line.split(". ")[0] for line in found] == [
        "3:1: unknown key `servces`",
        "6:5: unknown key `imag`",
        "7:17: `privileged`: must be true or false, not 'yes'",
        "8:31: `target`: 99999 is not a port",
        "8:39: host port 80/tcp is already published by `web`",
        "9:20: `mode` must be 'replicated', 'global', 'replicated-job' or 'global-job',"
        " not 'replicatd'",
        "9:60: a limit of 1048576 bytes of memory is too small",
        "9:70: `cpus`: 'x' is not a number of cores",
        "10:15: volume `dta` is not declared",
        "10:23: `volumes`: 'relative' is not an absolute path",
        "11:30: `soft`: must be a whole number, not 'x'",
        "13:12: variable DB is not set: choose one",
        "14:5: `image` is written twice; first in line 13",
        "15:18: `depends_on` names `wbe`, which is not a service here",
        "16:13: host port 80/tcp is already published by `web`",
    ]


def test_what_has_no_effect_is_a_warning() -> None:
    assert warnings(
        """
        version: "3"
        services:
          a:
            image: x
            container_name: a
            expose: [80]
            networks: [n]
            ports: [{target: 80, mode: ingress, name: http}]
            depends_on: {b: {condition: service_healthy}}
          b:
            image: x
            deploy: {mode: replicated-job}
            x-cube: {spread: {mode: require}}
        networks: {n: }
        """
    ) == [
        "2:1: `version` is ignored. Remove it; Compose has long ignored it.",
        "6:5: `container_name` is ignored. Cube names containers itself.",
        "7:5: `expose` is ignored. Services reach one another on every port.",
        "8:5: `networks` is ignored. Cube makes one network for each job; names resolve to"
        " instances.",
        "9:32: `ingress` is taken as `host`: there is no routing mesh. The port is open on the"
        " nodes that run the service.",
        "9:41: `name` is ignored. It has no effect.",
        "10:18: `b` has no healthcheck in this file. Write one; without it, started is taken for"
        " healthy.",
        "14:14: `spread` has no effect on `replicated-job`. Remove it.",
        "15:1: `networks` is ignored. Cube makes one network for each job; names resolve to"
        " instances.",
    ]


def test_extensions_and_empty_keys_are_left_alone() -> None:
    text = "x-a: 1\nservices: {a: {image: x, x-b: {c: 1}, ports: , deploy: {x-c: 1, resources: }}}"
    assert not warnings(text)


def test_messages_never_show_the_value_of_a_variable() -> None:
    with pytest.raises(SpecError) as caught:
        read_job(
            "-",
            {"TOKEN": "hunter2"},
            stdin="name: j\nservices: {a: {image: x, shm_size: '$TOKEN', restart: $TOKEN,"
            " deploy: {mode: $TOKEN, replicas: $TOKEN}}}",
        )
    assert len(caught.value.problems) == 4
    assert "hunter2" not in str(caught.value)
    assert "'$TOKEN'" in str(caught.value)


def test_very_many_problems_are_cut_short() -> None:
    keys = "".join(f"    imag{i}: 1\n" for i in range(3000))
    found = problems(f"services:\n  a:\n    image: x\n{keys}")
    assert len(found) == 101
    assert found[-1] == " there are more problems. Repair these first."


def test_a_problem_reads_as_place_text_and_remedy() -> None:
    assert str(Problem("a.yaml", 6, 7, "it is wrong", "Do this.")) == (
        "a.yaml:6:7: it is wrong. Do this."
    )
    assert str(Problem("--cpus", 0, 0, "it is wrong")) == "--cpus: it is wrong."
