"""What tasks get from a real Docker engine, and what it tells of them."""

from __future__ import annotations

import time
from urllib.request import urlopen

import pytest
from docker.api.client import APIClient
from engine_bench import IMAGE, Bench, exits, forever, key_of, shell, start

from cube.engine.docker.names import network_name, volume_name
from cube.messages import Exited, Health, Started
from cube.spec import HealthCheck, Mount, Port, TaskSpec, Ulimit

pytestmark = pytest.mark.docker
MIB = 1024 * 1024


@pytest.fixture
def bench(docker_bench) -> Bench:
    return docker_bench()


def test_limits_are_set(bench: Bench, docker_api: APIClient) -> None:
    spec = forever(
        cpu_limit_milli=250,
        memory_limit_mib=32,
        shm_size_bytes=8 * MIB,
        ulimits=(Ulimit("nofile", 100, 200),),
    )
    host = start(bench, docker_api, spec)["HostConfig"]
    assert host["NanoCpus"] == 250_000_000
    assert host["Memory"] == host["MemorySwap"] == 32 * MIB
    assert host["ShmSize"] == 8 * MIB
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]


def test_what_is_only_counted_is_not_limited(bench: Bench, docker_api: APIClient) -> None:
    host = start(bench, docker_api, forever(cpu_milli=500, memory_mib=64))["HostConfig"]
    assert host["NanoCpus"] == 0
    assert host["Memory"] == 0


def test_house_rules(bench: Bench, docker_api: APIClient) -> None:
    host = start(bench, docker_api, forever())["HostConfig"]
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-file": "3", "max-size": "10m"},
    }


def test_name_and_labels_tell_the_identity(
    bench: Bench, docker_api: APIClient, cluster: str
) -> None:
    spec = forever(labels=(("team", "blue"), ("cube.node", "forged")), cpu_milli=150)
    key = key_of("shop/web/2", attempt=3, restart=1)
    container = start(bench, docker_api, spec, key)
    assert container["Name"] == f"/cube.{cluster[:8]}.shop.web.2.7.a3.r1"
    labels = container["Config"]["Labels"]
    assert labels["team"] == "blue"
    expected = {
        "cluster": cluster,
        "node": "node-1",
        "job": "shop",
        "service": "web",
        "task": "shop/web/2@7",
        "attempt": "3",
        "restart": "1",
        "version": "1",
        "cpu_milli": "150",
        "memory_mib": "128",
        "disk_mib": "0",
        "on_disconnect": "keep",
        "stop_grace_seconds": "10.0",
    }
    assert {name: labels[f"cube.{name}"] for name in expected} == expected
    assert len(labels["cube.spec"]) == 16


def test_what_the_task_finds(bench: Bench, docker_api: APIClient) -> None:
    spec = forever(
        environment=(("COLOUR", "blue"),),
        working_dir="/tmp",
        user="1000:1000",
        stop_signal="SIGUSR1",
        init=True,
        cap_add=("NET_ADMIN",),
        cap_drop=("CHOWN",),
        extra_hosts=(("peer", "10.1.2.3"),),
    )
    container = start(bench, docker_api, spec)
    config, host = container["Config"], container["HostConfig"]
    assert {"COLOUR=blue", "CUBE_TASK=shop/web/1", "CUBE_NODE=node-1"} <= set(config["Env"])
    assert (config["WorkingDir"], config["User"]) == ("/tmp", "1000:1000")
    assert (config["StopSignal"], host["Init"]) == ("SIGUSR1", True)
    assert (host["CapAdd"], host["CapDrop"]) == (["NET_ADMIN"], ["CHOWN"])
    assert host["ExtraHosts"] == ["peer:10.1.2.3"]


def test_a_published_port_answers(bench: Bench) -> None:
    script = "echo hello > /tmp/index.html; echo ready; exec httpd -f -p 80 -h /tmp"
    key = bench.run(shell(script, ports=(Port(80),)))
    (port,) = bench.next(Started).ports
    bench.logs_until(key, b"ready")
    with urlopen(f"http://127.0.0.1:{port.host}/", timeout=10) as page:
        assert page.read() == b"hello\n"


def test_a_taken_port_is_an_error(bench: Bench) -> None:
    bench.run(forever(ports=(Port(80),)))
    (port,) = bench.next(Started).ports
    bench.run(forever(ports=(Port(80, port.host),)), key_of("shop/web/2"))
    exited = bench.next(Exited)
    assert (exited.started, exited.retry) == (False, True)
    assert exited.reason == f"port {port.host} is already in use on this host"
    assert len(bench.list().found) == 1


def test_services_of_a_job_find_one_another_by_name(bench: Bench) -> None:
    serve = "echo hello > /tmp/index.html; echo ready; exec httpd -f -p 80 -h /tmp"
    web = bench.run(shell(serve))
    bench.next(Started)
    bench.logs_until(web, b"ready")
    ask = shell("wget -q -O - http://web/ || nslookup web", name="client")
    client = bench.run(ask, key_of("shop/client/1"))
    assert bench.next(Exited, client).exit_code == 0
    assert b"".join(bench.engine.logs(client)) == b"hello\n"


def test_the_network_goes_with_the_last_container(
    bench: Bench, docker_api: APIClient, cluster: str
) -> None:
    name = network_name(cluster, "shop")
    keys = [bench.run(exits(0), key_of(f"shop/web/{i}")) for i in range(3)]
    for key in keys:
        bench.next(Exited, key)
    for key in keys[:-1]:
        bench.discard(key)
    bench.list()
    assert [n["Name"] for n in docker_api.networks(names=[name])] == [name]
    bench.discard(keys[-1])
    bench.list()
    assert docker_api.networks(names=[name]) == []


def test_an_exit_is_seen_within_a_second(bench: Bench, docker_api: APIClient) -> None:
    key = bench.run(forever())
    handle = bench.next(Started).handle
    docker_api.kill(handle)
    killed = time.monotonic()
    exited = bench.next(Exited)
    assert time.monotonic() - killed < 1.0
    assert (exited.key, exited.exit_code, exited.reason) == (key, 137, "killed by SIGKILL")


def test_a_container_removed_from_outside(bench: Bench, docker_api: APIClient) -> None:
    key = bench.run(forever())
    docker_api.remove_container(bench.next(Started).handle, force=True)
    assert bench.next(Exited).key == key
    assert bench.list().found == ()


def test_out_of_memory_is_named(bench: Bench) -> None:
    bench.run(shell("x=aaaaaaaa; while :; do x=$x$x; done", memory_limit_mib=8))
    exited = bench.next(Exited)
    assert exited.exit_code == 137
    # The engine itself loses its word of it now and then: it is not told once the cgroup is gone.
    perhaps = "killed by SIGKILL (perhaps for its memory limit of 8 MiB)"
    assert exited.reason in ("exited 137 (out of memory)", perhaps)


def test_the_stop_signal_and_grace_are_used(bench: Bench) -> None:
    script = "trap 'echo bye; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    key = bench.run(shell(script, stop_signal="SIGUSR1"))
    bench.next(Started)
    bench.logs_until(key, b"ready")
    bench.kill(key, grace_seconds=20.0)
    assert bench.next(Exited).exit_code == 5
    assert b"".join(bench.engine.logs(key)) == b"ready\nbye\n"


def test_health_is_told(bench: Bench) -> None:
    check = HealthCheck(("CMD-SHELL", "test ! -e /tmp/sick"), interval_seconds=0.2, retries=1)
    spec = shell("sleep 1; touch /tmp/sick; sleep 100", healthcheck=check)
    key = bench.run(spec)
    assert bench.next(Health) == Health(key, True)
    assert bench.next(Health) == Health(key, False)
    (found,) = bench.list().found
    assert found.healthy is False


def test_named_volumes_are_kept(bench: Bench, docker_api: APIClient, cluster: str) -> None:
    mounts = (Mount("volume", "data", "/data"), Mount("volume", "", "/scratch"))
    first = bench.run(shell("echo kept > /data/file; touch /scratch/x", mounts=mounts))
    bench.next(Exited)
    bench.discard(first)
    bench.list()
    label = {"label": [f"cube.cluster={cluster}"]}
    (volume,) = docker_api.volumes(filters=label)["Volumes"]
    assert volume["Name"] == volume_name(cluster, "shop", "data")
    assert volume["Labels"]["cube.volume"] == "data"
    second = bench.run(shell("cat /data/file", mounts=mounts), key_of(restart=1))
    bench.next(Exited)
    assert b"".join(bench.engine.logs(second)) == b"kept\n"
    bench.engine.purge()
    assert docker_api.volumes(filters=label)["Volumes"] in (None, [])


def test_binds_and_tmpfs(bench: Bench, docker_api: APIClient, tmp_path) -> None:
    mounts = (Mount("bind", str(tmp_path), "/here", read_only=True), Mount("tmpfs", "", "/ram"))
    container = start(bench, docker_api, forever(mounts=mounts))
    found = {m["Destination"]: (m["Type"], m["RW"]) for m in container["Mounts"]}
    assert found == {"/here": ("bind", False), "/ram": ("tmpfs", True)}


def test_a_missing_host_path_is_an_error(bench: Bench) -> None:
    bench.run(forever(mounts=(Mount("bind", "/nonesuch/path", "/here"),)))
    exited = bench.next(Exited)
    assert exited.reason == "host path /nonesuch/path does not exist on this node"
    assert bench.list().found == ()


def test_an_unknown_command_leaves_nothing(
    bench: Bench, docker_api: APIClient, cluster: str
) -> None:
    bench.run(TaskSpec("web", IMAGE, command=("nonesuch",)))
    exited = bench.next(Exited)
    assert (exited.exit_code, exited.retry) == (127, False)
    bench.discard(exited.key)
    bench.list()
    label = {"label": [f"cube.cluster={cluster}"]}
    assert docker_api.containers(all=True, filters=label) == []
    assert docker_api.networks(filters=label) == []


def test_logs_of_the_newest_run(bench: Bench) -> None:
    for restart in range(2):
        key = bench.run(shell(f"echo run {restart}; echo done"), key_of(restart=restart))
        bench.next(Exited, key)
    assert b"".join(bench.engine.logs(key.uid)) == b"run 1\ndone\n"
    assert b"".join(bench.engine.logs(key_of())) == b"run 0\ndone\n"
    assert b"".join(bench.engine.logs(key.uid, tail=1)) == b"done\n"
