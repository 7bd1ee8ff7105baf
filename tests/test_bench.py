"""Measuring cost: what is counted and fitted; figures of speed themselves are `make bench`'s."""

import json
import time

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch

from membench import cli
from membench.bench import (
    Cost,
    bench_config,
    cost_exponent,
    matmul_flops_per_second,
    measure,
    measure_all,
)
from membench.config import build_config
from membench.envs import make_task
from membench.report.costs import (
    costs_table,
    exponents_table,
    read_measurements,
    to_frame,
    write_tables_and_figure,
)
from membench.training import Training


@pytest.mark.parametrize("k", [1.0, 1.5, 2.0])
def test_an_exact_power_law_is_found_again(k):
    horizons = [16, 64, 256, 1024]
    found = cost_exponent(horizons, [3e-4 * horizon ** (k - 1) for horizon in horizons])
    assert found.value == pytest.approx(k)
    assert found.interval == pytest.approx((k, k), abs=1e-6)


def test_the_interval_is_student_s():
    """Worked by hand: log2 costs 0, 1, 1 at log2 horizons 0, 1, 2 have slope 1/2, error sqrt(1/12)."""
    found = cost_exponent([1, 2, 4], [1.0, 2.0, 2.0])
    assert found.value == pytest.approx(1.5)
    half = 12.7062 * (1 / 12) ** 0.5  # the 97.5 % quantile of Student's t with one degree of freedom
    assert found.interval == pytest.approx((1.5 - half, 1.5 + half), rel=1e-4)


def test_two_horizons_give_no_interval():
    assert cost_exponent([16, 64], [1.0, 4.0]).interval is None


@pytest.mark.parametrize("horizon", [16, 1000, 100_000])
def test_every_horizon_has_about_as_many_steps(horizon):
    config = bench_config(build_config({"architecture": "gru", "ppo": {"num_minibatches": 4}}), horizon, 8192)
    num_steps = config.ppo.num_envs * make_task(config.task).max_episode_steps
    assert config.task.horizon == horizon
    assert num_steps == pytest.approx(8192, rel=0.1) or config.ppo.num_envs == 1
    assert config.ppo.num_minibatches <= config.ppo.num_envs


def test_steps_that_are_no_more_than_padding_are_not_counted():
    task = {"name": "Overwrite-v0", "num_items": 3, "horizon": 20, "min_horizon": 2}
    config = build_config({"architecture": "gru", "memory": {"hidden_size": 8}, "task": task})
    cost = measure(config, num_rounds=2)
    assert cost.num_steps == pytest.approx(32 * 13, rel=0.15)  # delays of 2 ... 20, and 2 steps more


def test_the_operations_of_an_iteration_are_counted():
    config = build_config(
        {
            "architecture": "gru",
            "memory": {"hidden_size": 32, "num_layers": 1},
            "task": {"horizon": 6},
            "ppo": {"num_envs": 4, "num_epochs": 2},
        }
    )
    cost = measure(config, num_rounds=2)
    assert cost.num_steps == 4 * 8 and len(cost.seconds) == 2 and min(cost.seconds) > 0
    forward = 2 * 3 * 32 * (4 + 32)  # three gates, each a product with the input and one with the state
    assert cost.flops_per_iteration == 32 * forward * (1 + 2 * 3)
    assert cost.seconds_per_acting_step > 0


def test_peak_memory_grows_with_what_is_kept_for_the_way_back():
    def memory_bytes(num_envs):
        task, ppo = {"horizon": 100}, {"num_envs": num_envs, "num_epochs": 1}
        config = build_config({"architecture": "gru_pmm", "task": task, "ppo": ppo})
        (cost,) = measure_all([config], num_rounds=1)
        return cost.memory_bytes

    kept = 102 * 64 * 4 * 4 * 64  # read weights alone, fp32: steps x episodes x heads x bytes x slots
    assert memory_bytes(64) > memory_bytes(1) + kept > kept


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_empty_cache_gives_back_what_an_ended_run_held():
    config = build_config({"architecture": "gru_pmm", "device": "cuda", "task": {"horizon": 500}})
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    training = Training(config, time.time())
    training.iterate()
    during = torch.cuda.memory_reserved()
    del training
    torch.cuda.empty_cache()
    # cuBLAS keeps its workspace.
    assert torch.cuda.memory_reserved() - before < 0.5 * (during - before)


def test_a_matrix_product_takes_time():
    assert 1e8 < matmul_flops_per_second("cpu") < 1e14


def make_cost(architecture, horizon, seconds):
    return Cost(
        config=build_config(
            {"architecture": architecture, "task": {"horizon": horizon}, "ppo": {"num_envs": 2}}
        ),
        num_steps=1000,
        parameters=10,
        seconds=seconds,
        flops_per_iteration=1e9,
        matmul_flops_per_second=1e10,
        memory_bytes=2**20,
        seconds_per_acting_step=1e-3,
    )


def test_tables_tell_medians_shares_and_growth(tmp_path):
    costs = [
        make_cost("transformer", 64, [0.4, 0.4, 9.0]),
        make_cost("transformer", 16, [0.1, 0.1, 0.1]),
        make_cost("gru", 16, [0.2, 0.2, 0.2]),
        make_cost("gru", 64, [0.2, 0.1, 0.3]),
    ]
    frame = to_frame(costs)
    assert frame.architecture.tolist() == ["gru", "gru", "transformer", "transformer"]
    assert frame.steps_per_second.tolist() == [5_000, 5_000, 10_000, 2_500]
    assert frame.share_of_limit.tolist() == pytest.approx([0.5, 0.5, 1.0, 0.25])
    growth = exponents_table(frame).values.set_index("architecture")
    assert growth.time_exponent.to_dict() == pytest.approx({"gru": 1.0, "transformer": 2.0})
    assert np.isnan(growth.time_low).all()
    assert exponents_table(frame).shown.iloc[0, 1] == "1.00"
    assert "5.0k" in costs_table(frame).shown["Steps/s"].tolist()
    files = {path.name for path in write_tables_and_figure(tmp_path, costs)}
    assert files == {path.name for path in tmp_path.iterdir()}
    assert pd.read_csv(tmp_path / "costs.csv").horizon.tolist() == [16, 64, 16, 64]
    write_tables_and_figure(tmp_path, costs[:1])
    assert not list(tmp_path.glob("exponents.*"))


def run(*arguments):
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(argument) for argument in arguments])
    return exit_.value.code or 0


def test_bench_measures_in_processes_of_their_own(tmp_path, capsys):
    arguments = ("bench", "--architectures", "gru,lstm", "--horizons", "2,4", "--steps-per-iteration", 64)
    sizes = ("--rounds", 2, "--set", "memory.hidden_size=8")
    assert run(*arguments, *sizes, "--out", tmp_path, "--json") == 0
    measurements = json.loads(capsys.readouterr().out)
    configs = [cost["config"] for cost in measurements["costs"]]
    assert [(config["architecture"], config["task"]["horizon"]) for config in configs] == [
        ("gru", 2),
        ("gru", 4),
        ("lstm", 2),
        ("lstm", 4),
    ]
    before = (tmp_path / "costs.json").read_text()
    assert json.loads(before) == measurements
    assert run(*arguments, *sizes, "--out", tmp_path) == 2
    assert "--refresh measures again" in capsys.readouterr().err
    assert (tmp_path / "costs.json").read_text() == before


BENCH = ("bench", "--architectures", "gru,lstm", "--horizons", "2,4", "--set", "memory.hidden_size=8")


@pytest.fixture
def measured(monkeypatch):
    """What is measured, one after another, in no time; Ctrl-C comes at the `measured.stop`-th."""

    class Measured(list):
        stop: int | None = None

        def __call__(self, configs, *, num_rounds):
            for config in configs:
                if len(self) == self.stop:
                    raise KeyboardInterrupt
                self.append((config.architecture, config.task.horizon))
                cost = make_cost(config.architecture, config.task.horizon, [1.0 + len(self)] * num_rounds)
                yield msgspec.structs.replace(cost, config=config)

    measured = Measured()
    monkeypatch.setattr("membench.bench.measure_all", measured)
    monkeypatch.setattr("membench.report.costs.write_tables_and_figure", lambda *_: [])
    return measured


EVERYTHING = [("gru", 2), ("gru", 4), ("lstm", 2), ("lstm", 4)]


def test_an_interrupted_measurement_goes_on_by_the_same_command(tmp_path, capsys, measured):
    measured.stop = 3
    assert run(*BENCH, "--out", tmp_path) == 130
    assert "this goes on: membench" in capsys.readouterr().err and not (tmp_path / "costs.json").exists()
    measured.stop = None
    assert run(*BENCH, "--out", tmp_path) == 0
    assert "3 of 4 measurements are there from before" in capsys.readouterr().err
    assert measured == EVERYTHING
    costs = read_measurements(tmp_path / "costs.json").costs
    assert [(cost.config.architecture, cost.config.task.horizon) for cost in costs] == EVERYTHING
    assert [path.name for path in tmp_path.iterdir()] == ["costs.json"]


def test_an_interrupted_refresh_leaves_the_old_measurement(tmp_path, measured):
    assert run(*BENCH, "--out", tmp_path) == 0
    before = (tmp_path / "costs.json").read_bytes()
    measured.stop = 6
    assert run(*BENCH, "--out", tmp_path, "--refresh") == 130
    assert (tmp_path / "costs.json").read_bytes() == before
    measured.stop = None
    assert run(*BENCH, "--out", tmp_path, "--refresh") == 0
    assert measured == EVERYTHING * 2
    assert (tmp_path / "costs.json").read_bytes() != before


@pytest.mark.parametrize("change", ["rounds", "versions"])
def test_what_was_measured_otherwise_is_measured_again(tmp_path, monkeypatch, measured, change):
    measured.stop = 3
    run(*BENCH, "--out", tmp_path)
    measured.stop = None
    if change == "versions":
        monkeypatch.setattr("membench.describe.versions", lambda: {"torch": "another"})
    assert run(*BENCH, "--out", tmp_path, "--rounds", 4 if change == "rounds" else 5) == 0
    assert measured == EVERYTHING[:3] + EVERYTHING


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--architectures", "gro"], "'gro': unknown; did you mean 'gru'"),
        (["--horizons", "16;32"], "--horizons '16;32': must be numbers with commas"),
        (["--horizons", "0,16"], "--horizons 0: growth is fitted on a logarithmic scale; must be at least 1"),
        (["--set", "ppo.num_envs=4"], "--set ppo.num_envs: is decided by --steps-per-iteration"),
        (["--set", "task.horizon=4"], "--set task.horizon: is decided by --horizons"),
        (["--set", "architecture=lstm"], "--set architecture: is decided by --architectures"),
        (["--set", "ladder=true"], "--set ladder, curriculum: bench measures at"),
        (["--peers", "--horizons", "16"], "--horizons: has no meaning beside --peers"),
    ],
)
def test_mistakes_are_answered(arguments, message, capsys):
    assert run("bench", *arguments) == 2
    assert message in capsys.readouterr().err


def test_peers_take_turns_on_the_same_work(capsys):
    pytest.importorskip("sb3_contrib", reason="needs the extra peers")
    assert run("bench", "--peers", "--rounds", 1, "--json") == 0
    systems = json.loads(capsys.readouterr().out)
    assert len(systems) == 4 and all(len(system["seconds"]) == 1 for system in systems)
    assert systems[0]["system"] == "membench, gru"


def test_peers_that_are_not_there_are_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "sb3_contrib", None)
    assert run("bench", "--peers") == 2
    assert "membench[peers]" in capsys.readouterr().err
