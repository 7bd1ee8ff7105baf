"""Tuning: the same search for every memory, kept with where it came from."""

import json

import msgspec
import pytest

from architectures import ARCHITECTURES
from membench import tuning
from membench.catalogue import check_memory_options
from membench.config import TaskConfig, merge
from membench.errors import InputError
from membench.suite import list_suites, load_suite, plan_runs
from membench.train import failed_record
from membench.tuning import Trial, Tuned


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_memory_gets_the_same_search(architecture):
    trials = tuning.tuning_configs(architecture)
    assert len(trials) == tuning.NUM_TRIALS
    assert len({config.run_id for trial in trials for config in trial}) == tuning.NUM_TRIALS * len(
        tuning.SEEDS
    )
    for trial in trials:
        assert tuple(config.seed for config in trial) == tuning.SEEDS
        assert {(c.total_timesteps, c.task.horizon) for c in trial} == {
            (tuning.TOTAL_TIMESTEPS, tuning.HORIZON)
        }
    rates = [trial[0].ppo.learning_rate for trial in trials]
    assert (min(rates), max(rates)) == tuning.LEARNING_RATES


def test_no_suite_reports_what_was_tuned_on():
    assert min(tuning.SEEDS) >= 1000
    horizons = {
        merge(suite.settings, profile.settings, cell).get("task", {}).get("horizon", TaskConfig().horizon)
        for suite in map(load_suite, list_suites())
        for profile in suite.profiles.values()
        for cell in profile.cells
    }
    assert tuning.HORIZON not in horizons


def test_every_memory_was_searched_for():
    assert ARCHITECTURES.keys() == tuning.tuned_outcomes().keys()


@pytest.mark.parametrize("architecture", tuning.tuned_outcomes())
def test_what_was_found_is_the_best_of_its_trials(architecture):
    outcome = tuning.tuned_outcomes()[architecture]
    tried = [json.loads(msgspec.json.encode(settings)) for settings in tuning.trial_settings(architecture)]
    assert [trial.settings for trial in outcome.trials] == tried
    assert outcome.settings == min(outcome.trials, key=lambda trial: trial.score).settings
    assert outcome.command == f"membench tune {architecture}"
    check_memory_options(architecture, outcome.settings.get("memory", {}))


def test_a_suite_s_runs_begin_with_what_was_found():
    for config in plan_runs(load_suite("horizons"), "quick", num_seeds=1):
        found = tuning.own_settings(config.architecture)
        assert config.ppo.learning_rate == found["ppo"]["learning_rate"]
        assert found.get("memory", {}).items() <= config.memory.items()


def records(architecture, steps):
    configs = [config for trial in tuning.tuning_configs(architecture) for config in trial]
    for config, to_solved in zip(configs, steps, strict=True):
        status = "unsolved" if to_solved is None else "solved"
        yield msgspec.structs.replace(failed_record(config, ""), status=status, steps_to_solved=to_solved)


def test_unsolved_counts_as_twice_the_budget_and_the_fewest_steps_win():
    steps = [50_000, None, *[90_000, 90_000] * 6, 80_000, 99_000]
    outcome = tuning.outcome_of("gru", list(records("gru", steps)), "membench tune gru")
    assert outcome.trials[0].steps_to_solved == [50_000, 2 * tuning.TOTAL_TIMESTEPS]
    assert outcome.settings == outcome.trials[-1].settings  # 89,500 on average


def test_a_run_that_was_lost_after_it_was_solved_counts_as_unsolved():
    found = list(records("gru", [50_000, 50_000, *[90_000, 90_000] * 7]))
    found[0] = msgspec.structs.replace(found[0], status="diverged")
    outcome = tuning.outcome_of("gru", found, "membench tune gru")
    assert outcome.trials[0].steps_to_solved == [2 * tuning.TOTAL_TIMESTEPS, 50_000]


def test_outcomes_share_a_file(tmp_path):
    path = tmp_path / "tuned.json"
    for name in ("b", "a", "b"):
        trial = Trial(settings={}, steps_to_solved=[1])
        tuning.write_outcome(path, name, Tuned(command=name, settings={}, trials=[trial]))
    assert list(json.loads(path.read_text())) == ["a", "b"]
    path.write_text("[1]")
    with pytest.raises(InputError, match="not a file of tuned settings"):
        tuning.write_outcome(path, "a", Tuned(command="", settings={}, trials=[]))
