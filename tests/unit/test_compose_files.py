"""Realistic Compose and Swarm files, and what becomes of them."""

from pathlib import Path

import pytest

from cube import spec
from cube.compose import read_job

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "tests" / "compose").glob("*.y*ml"))
ENVIRON = {"DB_PASSWORD": "hunter2", "TZ": "UTC", "HOME": "/home/someone"}


def service(file: str, name: str) -> spec.TaskSpec:
    found = read_job(ROOT / "tests" / "compose" / file, ENVIRON).job.service(name)
    assert found is not None
    return found


def test_there_are_ten_files() -> None:
    assert len(FILES) == 10


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_file_validates_and_reads_the_same_twice(path: Path) -> None:
    reading = read_job(path, ENVIRON)
    assert reading.job.services
    assert reading.job.source == str(path)
    assert read_job(path, ENVIRON) == reading


def test_names_of_jobs() -> None:
    names = {path.name: read_job(path, ENVIRON).job.name for path in FILES}
    assert names["blog.compose.yaml"] == "blog"
    assert names["edge.stack.yml"] == "edge"
    assert names["docker-compose.yml"] == "legacy"


def test_blog() -> None:
    db, wordpress = (service("blog.compose.yaml", name) for name in ("db", "wordpress"))
    assert dict(db.environment)["MARIADB_PASSWORD"] == "hunter2"
    assert db.healthcheck is not None
    assert db.healthcheck.start_period_seconds == 90
    assert db.pinning_mounts == (spec.Mount("volume", "db_data", "/var/lib/mysql"),)
    assert wordpress.depends_on == (spec.Dependency("db", "healthy"),)
    assert wordpress.ports == (spec.Port(80, 8080),)
    assert wordpress.restart.attempts is None


def test_voting() -> None:
    worker = service("voting.stack.yaml", "worker")
    assert (worker.instances, worker.cpu_milli, worker.memory_mib) == (2, 250, 64)
    assert (worker.cpu_limit_milli, worker.memory_limit_mib) == (500, 128)
    assert worker.restart == spec.RestartPolicy("any", 3, 120.0, 10.0)
    assert service("voting.stack.yaml", "vote").image.endswith(":1.4.0")
    assert dict(service("voting.stack.yaml", "result").labels) == {"team": "polls"}
    constraint = spec.Constraint("node.labels.storage", "==", "ssd")
    assert service("voting.stack.yaml", "db").constraints == (constraint,)


def test_monitoring() -> None:
    job = read_job(ROOT / "tests" / "compose" / "monitoring.compose.yaml", ENVIRON).job
    assert (job.priority, job.datacenters) == (80, ("dc1", "dc2"))
    prometheus, exporter, grafana = job.services
    assert prometheus.user == "65534"
    assert prometheus.disk_mib == 20 * 1024
    assert prometheus.mounts[0].source == str(ROOT / "tests" / "compose" / "prometheus.yml")
    assert exporter.kind is spec.Kind.GLOBAL
    assert exporter.command == ("--path.procfs=/host/proc", "--path.rootfs=/rootfs")
    assert not exporter.pinning_mounts
    assert (exporter.cpu_milli, exporter.cpu_limit_milli) == (100, 100)
    assert exporter.log_options == (("max-file", "2"), ("max-size", "5m"))
    assert dict(grafana.environment)["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert [(m.target, m.size_mib) for m in grafana.mounts] == [("/tmp", 64), ("/run", None)]


def test_cloud() -> None:
    app, cron = (service("cloud.compose.yaml", name) for name in ("app", "cron"))
    environment = dict(app.environment)
    assert environment["TZ"] == "Europe/Vienna"
    assert environment["GREETING"] == "Hello,\nworld"
    assert environment["PLAIN"] == "no ${VARIABLE} here"
    assert dict(cron.environment)["TZ"] == "UTC"
    assert cron.entrypoint == ("/cron.sh",)
    assert cron.mounts == (spec.Mount("volume", "cloud_files", "/var/www/html", shared=True),)
    hosts = (("gateway", "host-gateway"), ("mail.internal", "10.0.0.25"))
    assert app.extra_hosts == hosts
    redis = service("cloud.compose.yaml", "redis")
    assert redis.command == ("redis-server", "--save", "", "--appendonly", "no")


def test_search() -> None:
    search = service("search.compose.yaml", "search")
    assert search.ulimits == (
        spec.Ulimit("memlock", -1, -1),
        spec.Ulimit("nofile", 65536, 65536),
    )
    assert search.spread == spec.Spread("prefer", "node.labels.rack")
    assert search.max_per_node == 1
    assert search.shm_size_bytes == 256 << 20
    assert dict(search.environment)["bootstrap.memory_lock"] == "true"
    assert search.healthcheck is not None
    assert search.healthcheck.test[0] == "CMD-SHELL"


def test_nightly() -> None:
    migrate, load, clean = (
        service("nightly.compose.yaml", name) for name in ("migrate", "import", "clean")
    )
    assert migrate.kind is spec.Kind.BATCH
    assert (migrate.restart.condition, migrate.reschedule.attempts) == ("none", 0)
    assert load.instances == 8
    assert load.command == ("sh", "-c", 'import --shard "$CUBE_INDEX" --of 8')
    assert dict(load.environment) == {"BATCH_SIZE": "5_000", "RATIO": "1.10"}
    assert load.restart == spec.RestartPolicy("on-failure", 5, 86400.0, 5.0)
    assert load.reschedule == spec.ReschedulePolicy(3, 60.0, 600.0)
    assert load.depends_on == (spec.Dependency("migrate", "completed"),)
    assert clean.kind is spec.Kind.GLOBAL_BATCH
    assert clean.on_disconnect == "stop"
    assert [str(c) for c in clean.constraints] == [
        "node.labels.scratch == yes",
        "node.hostname != bastion",
    ]


def test_queue() -> None:
    api, worker, beat = (service("queue.compose.yaml", name) for name in ("api", "worker", "beat"))
    assert api.ports == (spec.Port(8000, 8000), spec.Port(8001, 8001))
    assert api.command == ("gunicorn", "--bind", "0.0.0.0:8000", "app:create()")
    assert worker.command == ("celery", "-A", "app", "worker", "--concurrency", "4")
    assert worker.spread.mode == "none"
    assert (worker.restart.attempts, worker.restart.delay_seconds) == (None, 2.0)
    assert (worker.memory_mib, worker.stop_grace_seconds) == (768, 120.0)
    assert dict(beat.environment)["LOG_LEVEL"] == "warning"
    assert dict(worker.environment)["LOG_LEVEL"] == "info"
    assert beat.pull_policy == "always"


def test_sensors() -> None:
    broker, zigbee, collector = (
        service("sensors.compose.yaml", name) for name in ("broker", "zigbee", "collector")
    )
    assert broker.ports[2] == spec.Port(9001, 9001, "tcp", "::1")
    assert [(m.kind, m.source, m.read_only) for m in broker.mounts[1:]] == [
        ("bind", "/srv/mosquitto", False),
        ("volume", "", False),
    ]
    assert zigbee.restart == spec.RestartPolicy("on-failure", 5)
    assert zigbee.environment == (("TZ", "UTC"),)
    assert collector.ports == (
        spec.Port(8094, 8094, "udp", "127.0.0.1"),
        spec.Port(8125, None, "udp"),
    )
    assert not collector.has_health
    assert collector.labels == (("com.example.draft", ""), ("com.example.owner", "sensors"))


def test_edge() -> None:
    proxy, whoami = (service("edge.stack.yml", name) for name in ("proxy", "whoami"))
    assert proxy.mounts[1] == spec.Mount("tmpfs", "", "/cache", size_mib=32)
    assert proxy.restart.delay_seconds == 2.0
    assert whoami.spread == spec.Spread("require", "datacenter")
    assert dict(whoami.labels)["traefik.enable"] == "true"


def test_yamls_old_traps() -> None:
    ssh, country = (service("docker-compose.yml", name) for name in ("ssh", "country"))
    assert ssh.ports[0] == spec.Port(22, 22)
    assert ssh.restart.condition == "none"
    assert country.image == "registry.example/legacy/country:3.10"
    assert dict(country.environment) == {
        "COUNTRY": "NO",
        "SINCE": "2004-01-02",
        "VERSION": "3.10",
        "MASK": "0755",
    }


def test_the_example_shows_a_service_a_worker_and_a_batch_task() -> None:
    reading = read_job(ROOT / "examples" / "shop.compose.yaml", {})
    assert not reading.warnings
    assert reading.job.name == "shop"
    web, worker, report = reading.job.services
    assert (web.kind, web.instances, web.cpu_limit_milli) == (spec.Kind.SERVICE, 3, 500)
    assert worker.depends_on == (spec.Dependency("web"),)
    assert report.kind is spec.Kind.BATCH
    for task in reading.job.services:
        assert task.image == "busybox:latest"
        assert task.command is not None
        assert task.command[:2] == ("sh", "-c")
    assert web.restart.delay_seconds == 1.0
