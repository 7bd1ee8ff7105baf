"""Suite files: the runs they stand for, and the answer to a mistake in one."""

import msgspec
import pytest

from membench.errors import InputError
from membench.execute import check_runnable
from membench.folders import make_results_folder
from membench.plan import Plan, write_plan
from membench.suite import list_presets, list_suites, load_preset, load_suite, plan_runs
from membench.tuning import own_settings
from membench.worker import run_here

SUITE = """
question = "Does it work?"
architectures = ["gru", "lstm"]

[settings]
total_timesteps = 100
ppo.num_envs = 4

[memory]
gru = { hidden_size = 8, num_layers = 1 }

[profiles.quick]
seeds = 2
memory.gru = { hidden_size = 16 }

[[profiles.quick.cells]]
task.horizon = 1

[[profiles.quick.cells]]
task.horizon = 2
total_timesteps = 200
"""


@pytest.fixture
def suite_file(tmp_path):
    def write(text=SUITE):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


def test_runs_are_cells_times_seeds_times_architectures(suite_file):
    configs = plan_runs(load_suite(suite_file()), "quick")
    assert [(c.task.horizon, c.seed, c.architecture) for c in configs] == [
        (horizon, seed, architecture)
        for horizon in (1, 2)
        for seed in (0, 1)
        for architecture in ("gru", "lstm")
    ]
    assert [c.total_timesteps for c in configs[::4]] == [100, 200]
    tuned = [own_settings(name)["memory"] for name in ("gru", "lstm")]
    assert configs[0].memory == tuned[0] | {"hidden_size": 16, "num_layers": 1}
    assert configs[1].memory == tuned[1]
    assert {c.ppo.num_envs for c in configs} == {4}


def test_a_grid_repeats_every_cell_for_each_combination(suite_file):
    grid = """
[profiles.quick.grid]
"ppo.learning_rate" = [1e-3, 1e-2]
"ppo.discount" = [0.9, 0.99]
"""
    text = SUITE.replace("seeds = 2", "seeds = 1").replace("[[profiles", grid + "[[profiles", 1)
    configs = plan_runs(load_suite(suite_file(text)), "quick", architectures=["gru"])
    assert [(c.task.horizon, c.ppo.learning_rate, c.ppo.discount) for c in configs] == [
        (horizon, rate, discount) for horizon in (1, 2) for rate in (1e-3, 1e-2) for discount in (0.9, 0.99)
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"ppo.learnin_rate" = [1.0]', "key in ppo 'learnin_rate': unknown; did you mean 'learning_rate'"),
        ('"ppo.discount" = [2.0]', r"ppo\.discount: Expected `float` <= 1.0 \(got 2.0\)"),
        ('"ppo.discount" = []', "Expected `array` of length >= 1"),
    ],
)
def test_a_mistake_in_a_grid_is_named(suite_file, line, message):
    text = SUITE.replace("[[profiles", f"[profiles.quick.grid]\n{line}\n\n[[profiles", 1)
    with pytest.raises(InputError, match=message):
        plan_runs(load_suite(suite_file(text)), "quick")


def test_a_preset_wins_over_the_suite_and_the_command_line_over_all(suite_file):
    configs = plan_runs(
        load_suite(suite_file()),
        "quick",
        architectures=["gru"],
        num_seeds=1,
        preset=load_preset("doc"),
        overrides={"ppo": {"learning_rate": 5e-4}, "memory": {"num_layers": 3}},
    )
    assert len(configs) == 2
    assert configs[0].memory == {"hidden_size": 256, "num_layers": 3, "gate_timescales": "none"}
    assert (configs[0].agent.head, configs[0].ppo.learning_rate) == ("gaussian", 5e-4)
    assert configs[0].ppo.num_envs == 4  # the document does not say


@pytest.mark.parametrize("preset", [None, *list_presets()])
@pytest.mark.parametrize("name", list_suites())
def test_every_run_of_every_suite_can_be_built(name, preset):
    suite = load_suite(name)
    assert {"quick", "standard", "full"} <= suite.profiles.keys()
    for profile in ("quick", "full") if preset else suite.profiles:
        check_runnable(plan_runs(suite, profile, preset=load_preset(preset) if preset else None))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 2", "seeds = 0", r"mine\.toml: profiles\.quick\.seeds: Expected `int` >= 1"),
        ("seeds = 2", "sedes = 2", r"mine\.toml: key in profiles\.quick 'sedes': .*did you mean 'seeds'"),
        ("question", "qestion", r"mine\.toml: .*did you mean 'question'"),
        (
            "task.horizon = 1\n",
            "task.horizont = 1\n",
            r"cell 0: key in task 'horizont': unknown; did you mean",
        ),
        (
            "task.horizon = 1\n",
            "task.horizon = -1\n",
            r"cell 0: task\.horizon: Expected `int` >= 0 \(got -1\)",
        ),
        ('"lstm"]', '"lstn"]', r"architecture 'lstn': unknown; did you mean 'lstm'"),
        (
            "total_timesteps = 100",
            "total_timesteps = inf",
            r"mine\.toml: settings\.total_timesteps: .*finite",
        ),
        ("[settings]", "[settings", r"mine\.toml: not valid TOML"),
    ],
)
def test_a_mistake_is_answered_with_file_key_value_and_what_is_legal(suite_file, old, new, message):
    assert old in SUITE
    with pytest.raises(InputError, match=message):
        plan_runs(load_suite(suite_file(SUITE.replace(old, new))), "quick", source="mine.toml")


SIZED = """
question = "Which size?"
architectures = ["gru", "gru_pmm"]
match_parameters = 225_000

[profiles.quick]
seeds = 1

[[profiles.quick.cells]]
task.horizon = 1

[[profiles.quick.cells]]
architectures = ["gru_pmm"]
memory.num_slots = 32

[[profiles.quick.cells]]
memory.hidden_size = 24
"""


def test_a_cell_may_be_for_some_memories_and_state_a_width(suite_file):
    base, base_pmm, slots, width, width_pmm = plan_runs(load_suite(suite_file(SIZED)), "quick")
    assert [c.architecture for c in (base, base_pmm, slots)] == ["gru", "gru_pmm", "gru_pmm"]
    assert [c.architecture for c in (width, width_pmm)] == ["gru", "gru_pmm"]
    assert base.matched_parameters == base_pmm.matched_parameters == slots.matched_parameters == 225_000
    assert slots.memory["num_slots"] == 32
    assert width.memory["hidden_size"] == width_pmm.memory["hidden_size"] == 24
    assert width.matched_parameters is width_pmm.matched_parameters is None


def test_a_misspelt_memory_of_a_cell_is_an_error(suite_file):
    text = SIZED.replace('architectures = ["gru_pmm"]', 'architectures = ["gru_pnm"]')
    with pytest.raises(InputError, match=r"cell 1: architecture 'gru_pnm': unknown; did you mean 'gru_pmm'"):
        plan_runs(load_suite(suite_file(text)), "quick")


@pytest.mark.parametrize("chosen", ['"gru"', "[]", "3"])
def test_a_cell_s_memories_must_be_a_list(suite_file, chosen):
    text = SIZED.replace('architectures = ["gru_pmm"]', f"architectures = {chosen}")
    with pytest.raises(InputError, match=r"cell 1: architectures .*: must be a list of some of"):
        plan_runs(load_suite(suite_file(text)), "quick")


def test_cells_that_an_override_makes_the_same_are_run_once(suite_file):
    configs = plan_runs(load_suite(suite_file(SIZED)), "quick", overrides={"task": {"horizon": 3}})
    assert len(configs) == 5
    same = {"task": {"horizon": 3}, "memory": {"hidden_size": 24}}
    configs = plan_runs(load_suite(suite_file(SIZED)), "quick", overrides=same)
    assert len(configs) == len({config.run_id for config in configs}) == 3


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (load_suite, "horizonz", "--suite 'horizonz': unknown; did you mean 'horizons'"),
        (load_suite, "missing.toml", r"missing\.toml: cannot read it"),
        (load_preset, "dok", "--preset 'dok': unknown; did you mean 'doc'"),
    ],
)
def test_unknown_names(load, name, message):
    with pytest.raises(InputError, match=message):
        load(name)


def test_unknown_profile():
    with pytest.raises(InputError, match=r"--profile 'quik': unknown; did you mean 'quick'"):
        plan_runs(load_suite("horizons"), "quik")


TINY = {
    "ppo": {"num_envs": 4, "num_epochs": 1},
    "evaluation": {"interval": 40, "num_episodes": 4, "num_final_episodes": 4},
}


@pytest.mark.parametrize("name", list_suites())
def test_every_suite_runs_to_its_tables_figures_and_page(name, membench, tmp_path):
    """One memory, one seed and hardly any steps: what is missing is told, and nothing is left out."""
    suite = load_suite(name)
    planned = plan_runs(suite, "quick", architectures=suite.architectures[:1], num_seeds=1, overrides=TINY)
    configs = [shortened(config) for config in planned]
    make_results_folder(tmp_path)
    for config in configs:
        assert run_here(config, tmp_path).status != "failed"
    plan = Plan(suite=name, profile="quick", question=suite.question, command="membench", configs=configs)
    write_plan(tmp_path, plan)
    assert membench("report", tmp_path)[0] == 0
    runs = (tmp_path / "tables" / "runs.csv").read_text().splitlines()
    assert len(runs) == 1 + len(configs)
    assert (tmp_path / "report.html").exists() and list((tmp_path / "plots").glob("*.png"))
    assert "Mixed settings" not in (tmp_path / "report.md").read_text()


def shortened(config):
    """The same run with a budget of 40 steps, the least that a ladder from 8 takes, or 40 per stage."""
    stages = [msgspec.structs.replace(stage, timesteps=40) for stage in config.curriculum]
    return msgspec.structs.replace(config, curriculum=stages, total_timesteps=40 * max(1, len(stages)))
