"""The plan of a results folder: whether its runs are the suite's, and which command adds to them."""

import shlex
import sys

import pytest
from test_cli import TINY_SUITE

from membench.plan import Plan, planned_runs, read_plan

pytestmark = pytest.mark.plots(drawn=False)

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


def test_a_file_that_is_called_like_a_suite_is_another(membench, tmp_path):
    """Its runs are no evidence for claims about that suite; the command for more of them names the file."""
    suite, out = tmp_path / "horizons.toml", tmp_path / "out"
    suite.write_text(TINY_SUITE)
    membench("run", "--suite", suite, "--seeds", 1, "--architectures", "gru", "--out", out)
    assert list(planned_runs(out)[0]) == [str(suite)]
    code, _, err = membench(*shlex.split(read_plan(out).command_for(["lstm"], out))[1:], "--seeds", 1)
    assert code == 0, err
    assert {config.architecture for config in read_plan(out).configs} == {"gru", "lstm"}


def test_the_command_names_a_preset_and_a_number_of_parameters(tmp_path):
    plan = Plan(**FIELDS, preset="doc", num_parameters=9_000)
    assert plan.command_for(["lstm", "gru"], tmp_path) == (
        "membench run --suite horizons --profile reference --preset doc --match-parameters 9000 "
        f"--architectures lstm,gru --out {tmp_path}"
    )


@pytest.fixture
def run(membench, tmp_path, monkeypatch):
    """Run a suite as it is then into one folder: the plan that is left, and the report."""

    def call(suite, *options):
        path = tmp_path / "tiny.toml"
        path.write_text(suite)
        words = ["run", "--suite", str(path), "--out", str(tmp_path / "out"), *map(str, options)]
        monkeypatch.setattr(sys, "argv", ["membench", *words])
        code, _, err = membench(*words)
        assert code == 0, err
        return read_plan(tmp_path / "out"), (tmp_path / "out" / "report.md").read_text()

    return call


LONGER = TINY_SUITE.replace("total_timesteps = 200", "total_timesteps = 300")
GRU, LSTM = (("--architectures", name, "--seeds", 1) for name in ("gru", "lstm"))


def options_of(plan):
    return [one.command.partition("--out ")[2].partition(" ")[2] for one in plan.commands]


def test_the_plan_keeps_every_command_that_trained_something(run):
    run(TINY_SUITE, *GRU)
    for again in (LSTM, GRU, LSTM):  # the latter two have nothing to do
        plan, report = run(TINY_SUITE, *again)
        assert options_of(plan) == ["--architectures gru --seeds 1", "--architectures lstm --seeds 1"]
        assert len(plan.configs) == 4
        assert report.index(plan.commands[0].command) < report.index(plan.commands[1].command)
        assert "Changed suite" not in report


@pytest.mark.parametrize("first", [GRU, ("--architectures", "lstm", "--seeds", 2)], ids=["memory", "seed"])
def test_a_suite_that_was_changed_between_commands_is_told(first, run):
    run(TINY_SUITE, *first)
    plan, report = run(LONGER, *LSTM)
    assert plan.suite_changes == [1]
    assert "**Changed suite**" in report and "command 2: membench run" in report
    assert "200 steps" in report and "300 steps" in report


@pytest.mark.parametrize(
    "suite",
    [
        f"# A remark.\n{TINY_SUITE}",
        TINY_SUITE.replace("seeds = 2", "seeds = 1").replace("Does it", "Will it"),
        TINY_SUITE.replace('["gru", "lstm"]', '["lstm", "gru"]'),
    ],
    ids=["remark", "seeds", "memories"],
)
def test_what_no_run_depends_on_is_no_change_of_a_suite(suite, run):
    run(TINY_SUITE, *GRU)
    plan, report = run(suite, *LSTM)
    assert len(plan.commands) == 2 and plan.suite_changes == []
    assert "Changed suite" not in report


def test_commands_of_which_no_run_is_left_are_not_told(run):
    run(TINY_SUITE, *GRU)
    plan, report = run(LONGER, *GRU)
    assert len(plan.commands) == 1 and {config.total_timesteps for config in plan.configs} == {300}
    assert "Changed suite" not in report and "Setting" not in report
