"""Equal parameters."""

import pytest

from architectures import ARCHITECTURES
from membench.agent import build_agent
from membench.config import build_config
from membench.describe import count_parameters
from membench.envs import make_task
from membench.errors import InputError
from membench.sizing import match_parameters, num_parameters_of
from membench.suite import load_preset, load_suite, plan_runs


@pytest.mark.parametrize("num_parameters", [50_000, 225_000, 600_000, 5_000_000])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_memory_comes_within_five_per_cent(architecture, num_parameters):
    config = match_parameters(build_config({"architecture": architecture}), num_parameters)
    assert num_parameters_of(config) == pytest.approx(num_parameters, rel=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameters_are_counted_without_building_them(architecture):
    config = match_parameters(build_config({"architecture": architecture}), 75_000)
    agent = build_agent(config, make_task(config.task))
    assert num_parameters_of(config) == count_parameters(agent)["total"]


def test_where_widths_are_too_coarse_the_feedforward_part_makes_up_for_it():
    config = build_config({"architecture": "gtrxl"})
    assert match_parameters(config, 50_000).memory.keys() == {"hidden_size", "feedforward_size"}
    fixed = build_config({"architecture": "gtrxl", "memory": {"feedforward_size": 64, "num_heads": 8}})
    assert match_parameters(fixed, 225_000).memory["feedforward_size"] == 64


@pytest.mark.parametrize(
    "task",
    [
        {"name": "Overwrite-v0", "num_items": 9},
        {"name": "Overwrite-v0", "num_items": 3, "min_horizon": 4},
        {"min_horizon": 15},
    ],
)
def test_tasks_that_need_some_horizon_are_matched_too(task):
    config = match_parameters(build_config({"architecture": "gru", "task": task}), 75_000)
    assert num_parameters_of(config) == pytest.approx(75_000, rel=0.05)
    assert config.task == build_config({"architecture": "gru", "task": task}).task


def test_nothing_but_the_width_is_changed():
    config = build_config(
        {"architecture": "mamba", "memory": {"state_size": 8}, "task": {"horizon": 70}, "seed": 3}
    )
    matched = match_parameters(config, 100_000)
    assert matched.memory.keys() == {"state_size", "hidden_size"}
    assert build_config({**vars_of(matched), "memory": config.memory}) == config


def vars_of(config):
    return {name: getattr(config, name) for name in ("architecture", "task", "seed")}


def test_a_width_that_a_memory_refuses_is_passed_over():
    config = build_config({"architecture": "transformer", "memory": {"num_heads": 8, "num_layers": 1}})
    assert match_parameters(config, 600_000).memory["hidden_size"] % 16 == 0


@pytest.mark.parametrize("num_parameters", [10, 10**14])
def test_a_number_out_of_reach_is_an_error(num_parameters):
    with pytest.raises(
        InputError, match=f"--match-parameters {num_parameters}: no width of 'gru' comes within"
    ):
        match_parameters(build_config({"architecture": "gru"}), num_parameters)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"task": {"name": "CueMemroy-v0"}},
            "^task.name 'CueMemroy-v0': unknown; did you mean 'CueMemory-v0'",
        ),
        (
            {"task": {"name": "Overwrite-v0", "distractors": 0.5}},
            "^task.distractors 0.5: Overwrite-v0 has no",
        ),
        ({"memory": {"num_layers": 0}}, "^memory of 'gru': num_layers: Expected `int` >= 1"),
    ],
)
def test_what_is_no_fault_of_the_width_is_said_as_without_a_match(settings, message):
    with pytest.raises(InputError, match=message):
        match_parameters(build_config({"architecture": "gru"} | settings), 75_000)


def test_a_memory_without_a_width_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "fixed.py").write_text(
        "from architectures.gru import GRU\n"
        "class Fixed(GRU):\n"
        "    def __init__(self, input_size):\n"
        "        super().__init__(input_size)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="no option hidden_size"):
        match_parameters(build_config({"architecture": "fixed:Fixed"}), 1_000)


def test_a_suite_s_number_gives_way_to_a_preset_and_to_a_width_of_one_s_own():
    suite = load_suite("horizons")

    def width(**arguments):
        return plan_runs(suite, "quick", architectures=["gru"], num_seeds=1, **arguments)[0].memory[
            "hidden_size"
        ]

    assert width() == 272
    assert width(num_parameters=75_000) == 152
    assert width(preset=load_preset("doc")) == 256
    assert width(overrides={"memory": {"hidden_size": 40}}) == 40
