"""A job from the options of `cube run IMAGE`."""

from typing import Any

import pytest

from cube import spec
from cube.compose import SpecError, job_from_options
from cube.compose.options import name_from_image


def test_an_image_alone_is_a_service() -> None:
    least = spec.TaskSpec(name="nginx", image="nginx:1.27")
    assert job_from_options("nginx:1.27") == spec.JobSpec("nginx", (least,))


def test_all_options() -> None:
    job = job_from_options(
        "registry.example/shop/web:1",
        ["serve", "--verbose", "$HOME", "a b"],
        name="shop",
        replicas=3,
        cpus="0.5",
        memory="256M",
        disk="1G",
        env=["A=1=2", "TOKEN", "ABSENT", "D=$A"],
        publish=["8080:80", "53/udp"],
        restart="always",
        environ={"TOKEN": "t"},
    )
    (service,) = job.services
    assert service == spec.TaskSpec(
        name="shop",
        image="registry.example/shop/web:1",
        instances=3,
        command=("serve", "--verbose", "$HOME", "a b"),
        environment=(("A", "1=2"), ("D", "$A"), ("TOKEN", "t")),
        ports=(spec.Port(80, 8080), spec.Port(53, None, "udp")),
        cpu_milli=500,
        memory_mib=256,
        disk_mib=1024,
        cpu_limit_milli=500,
        memory_limit_mib=256,
        restart=spec.RestartPolicy("any", None),
    )
    assert job.source == ""


@pytest.mark.parametrize(
    ("restart", "batch", "kind", "condition"),
    [
        (None, None, spec.Kind.SERVICE, "any"),
        ("always", None, spec.Kind.SERVICE, "any"),
        ("no", None, spec.Kind.BATCH, "none"),
        ("on-failure:2", None, spec.Kind.BATCH, "on-failure"),
        ("no", False, spec.Kind.SERVICE, "none"),
        (None, True, spec.Kind.BATCH, "on-failure"),
        ("unless-stopped", False, spec.Kind.SERVICE, "any"),
    ],
)
def test_what_may_end_is_batch_unless_told_otherwise(
    restart: str | None, batch: bool | None, kind: spec.Kind, condition: str
) -> None:
    (service,) = job_from_options("x", restart=restart, batch=batch).services
    assert (service.kind, service.restart.condition) == (kind, condition)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"cpus": "much"}, "--cpus: 'much' is not a number of cores. Write a number of cores"),
        ({"cpus": "-1"}, "--cpus: '-1' is not a number of cores."),
        ({"memory": "5q"}, "--memory: '5q' is not a size."),
        ({"memory": "256"}, "--memory: a limit of 256 bytes of memory is too small."),
        ({"disk": "-1G"}, "--disk: '-1G' is not a size. A size is not negative."),
        ({"replicas": -1}, "--replicas: must be at least 0, not -1."),
        ({"replicas": "many"}, "--replicas: must be a whole number, not 'many'."),
        ({"env": ["=1"]}, "-e: an item has no name."),
        ({"env": ["A=1", "A=2"]}, "-e: 'A' is written twice."),
        ({"publish": ["x:80"]}, "-p: 'x:80' is not a port. Write '80', '8080:80'"),
        ({"publish": ["80:1", "80:2"]}, "-p: host port 80/tcp is already published"),
        ({"restart": "often"}, "--restart: 'often' is not a way to restart."),
        ({"restart": "always", "batch": True}, "--restart: a job that completes cannot be"),
        ({"name": "My Shop"}, "--name: 'My Shop' cannot be a name. Use 1 to 40"),
        ({"name": ""}, "--name: '' cannot be a name."),
    ],
)
def test_problems_name_the_option(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as caught:
        job_from_options("x", **options)
    (found,) = caught.value.problems
    assert str(found).startswith(problem)


def test_all_problems_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        job_from_options("x", name="A", cpus="a", memory="b", publish=["c"])
    places = [problem.file for problem in caught.value.problems]
    assert places == ["--cpus", "--memory", "--name", "-p"]


def test_an_empty_image() -> None:
    with pytest.raises(SpecError, match=r"IMAGE: is empty\. Name an image\."):
        job_from_options(" ")


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "busybox"),
        ("busybox:latest", "busybox"),
        ("registry.example:5000/Shop/Web_App:1.2", "web-app"),
        ("x@sha256:abcd", "x"),
        ("___", "task"),
        ("a" * 60, "a" * 40),
    ],
)
def test_the_name_comes_from_the_image(image: str, name: str) -> None:
    assert name_from_image(image) == name
