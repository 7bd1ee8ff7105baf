"""The plan of a results folder: whether its runs are the suite's, and which command adds to them."""

import shlex

import pytest

from membench.plan import Plan, read_plan

FIELDS = {"suite": "horizons", "profile": "reference", "question": "?", "command": "membench", "configs": []}


@pytest.mark.parametrize(
    ("options", "departs"),
    [
        ({}, False),
        ({"overrides": {"device": "cuda", "num_threads": 2}}, False),
        ({"overrides": {"device": "cuda", "ppo": {"learning_rate": 1.0}}}, True),
        ({"overrides": {"total_timesteps": 1_000}}, True),
        ({"overrides": {"total_timesteps": 1_000, "device": "cuda"}, "preset": "doc"}, False),
        ({"num_parameters": 10_000}, True),
    ],
    ids=str,
)
def test_where_runs_compute_is_no_departure_from_a_suite(options, departs):
    assert Plan(**FIELDS, **options).departs_from_its_suite == departs


def test_the_command_for_more_memories_keeps_what_was_planned(membench, tmp_path):
    """Carried out as it is told, the runs that it plans join those that were there."""
    out = tmp_path / "out and about"
    brief = ["--set", "total_timesteps=50", "--set", "evaluation={num_episodes = 2, num_final_episodes = 2}"]
    membench("run", "--suite", "horizons", "--architectures", "gru", "--seeds", 1, *brief, "--out", out)
    command = shlex.split(read_plan(out).command_for(["none"], out))
    code, _, err = membench(*command[1:])
    assert code == 0, err
    plan = read_plan(out)
    assert {config.architecture for config in plan.configs} == {"gru", "none"}
    assert {config.total_timesteps for config in plan.configs} == {50}
    assert {config.evaluation.num_episodes for config in plan.configs} == {2}


def test_the_command_names_a_preset_and_a_number_of_parameters(tmp_path):
    plan = Plan(**FIELDS, preset="doc", num_parameters=9_000)
    assert plan.command_for(["lstm", "gru"], tmp_path) == (
        "membench run --suite horizons --profile reference --preset doc --match-parameters 9000 "
        f"--architectures lstm,gru --out {tmp_path}"
    )
