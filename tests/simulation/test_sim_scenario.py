"""Scenarios: every error names file and line; what is written replays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cluster import Cluster, NodeGroup
from sim.errors import InputError
from sim.scenario import Scenario, named, parse, read, written
from sim.workload import Shape, Workload


@pytest.mark.parametrize("name", named())
def test_every_scenario_that_ships_can_be_read(name):
    assert read(name).name == name


def test_steady_says_what_the_defaults_are():
    steady = read("steady")
    assert (steady.cluster, steady.workload) == (Cluster(), Workload())
    assert (steady.warm_up, steady.control) == (Scenario().warm_up, Scenario().control)


@given(
    st.builds(
        Scenario,
        policies=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3).map(tuple),
        seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3).map(tuple),
        warm_up=st.floats(0, 1),
        cluster=st.builds(Cluster, groups=st.just((NodeGroup(name="a"), NodeGroup(name="b")))),
        workload=st.builds(
            Workload,
            load=st.floats(0.01, 5),
            shapes=st.just((Shape(cpu_milli=1, memory_mib=2), Shape(cpu_milli=3, memory_mib=4))),
        ),
    )
)
def test_what_is_written_reads_back_equal(scenario):
    assert parse(written(scenario)) == scenario


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[workload]\nlod = 1", "f.toml:2: unknown key 'lod'. Did you mean 'load'?"),
        ("[workload]\ntasks = 0", "f.toml:2: workload.tasks: input should be greater than"),
        ("\nsedes = [1]", "f.toml:2: unknown key 'sedes'. Did you mean 'seeds'?"),
        ("[workload]\ntasks = '5'", "f.toml:2: workload.tasks: input should be a valid integer"),
        ("[workload]\nload = nan", "f.toml:2: workload.load: input should be a finite number"),
        (
            "[[cluster.groups]]\nname = 'a'\n[[cluster.groups]]\ncout = 2",
            "f.toml:4: unknown key 'cout'. Did you mean 'count'?",
        ),
        (
            "name = 'x'\n[[cluster.groups]]\n[[cluster.groups]]",
            "f.toml:2: cluster: two groups of nodes have the same name",
        ),
        ("[workload.durations]\nfamily = 'x'", "f.toml:2: workload.durations.family: input should"),
        (
            "[workload.durations]\nmean_seconds = 5000",
            "f.toml:1: workload.durations: mean_seconds is above limit_seconds",
        ),
        ("[cluster]\ngroups = []", "f.toml:2: cluster.groups: list should have at least 1 item"),
        ("a = 1\nb = [", "f.toml:2"),
        ("seeds = 1 2", "f.toml:1:11: "),
        ("seed = 1\nseed = 1", "f.toml:2: Cannot overwrite a value"),
    ],
)
def test_an_error_names_file_line_and_remedy(text, message):
    with pytest.raises(InputError) as caught:
        parse(text, "f.toml")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_findings_come_at_once_in_order():
    with pytest.raises(InputError) as caught:
        parse("x = 1\n[workload]\nload = -1\ntasks = 0\n", "f.toml")
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["f.toml:1:", "f.toml:3:", "f.toml:4:"]


def test_files_that_are_no_scenario(tmp_path):
    with pytest.raises(InputError, match="Did you mean 'steady'"):
        read("stedy")
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text"):
        read(binary)
    large = tmp_path / "large.toml"
    large.write_text("#" * 10_000_000)
    with pytest.raises(InputError, match="at most 1 MiB"):
        read(large)
