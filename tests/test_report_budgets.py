"""Runs of unequal budgets are never pooled: they are cells of their own, and named by what they may spend."""

import json
import math

import msgspec
import pandas as pd
import pytest
from test_claims import results_of
from test_report import climb, make_record, rung_record, with_setting, write

from membench.config import EvaluationConfig, RunConfig
from membench.frame import to_frame
from membench.report import all_tables, headline_table
from membench.report.answer import answer
from membench.report.frame import cell_heading, tidy
from membench.stats import bootstrap_interval

BUDGETS = [20_000, 40_000, 80_000]


def with_budget(budget, architecture="gru", horizon=5, seed=0, **fields):
    return with_setting(architecture, horizon, seed, "total_timesteps", budget, **fields)


def given(record, **fields):
    """The record of a run with other fields in its configuration."""
    config = msgspec.structs.replace(record.config, **fields)
    return msgspec.structs.replace(record, run_id=config.run_id, config=config)


def table_of(records, name):
    return all_tables(tidy(to_frame(records)))[name]


@pytest.mark.parametrize(
    ("given_by", "names"),
    [
        ([{"total_timesteps": 20_000}, {"total_timesteps": 40_000}], ["20,000 steps", "40,000 steps"]),
        (
            [
                {"memory": {"hidden_size": size}, "matched_parameters": number}
                for size, number in ((8, 9_000), (16, 20_000))
            ],
            ["matched to 9,000 parameters", "matched to 20,000 parameters"],
        ),
        ([{}, {"ladder": True}], ["no ladder", "ladder"]),
    ],
    ids=["total_timesteps", "matched_parameters", "ladder"],
)
@pytest.mark.parametrize("architectures", [("gru", "gru"), ("gru", "lstm")], ids="-".join)
def test_cells_are_named_by_a_budget_that_differs_within_them(given_by, names, architectures):
    configs = [
        RunConfig(architecture=name, **fields) for name, fields in zip(architectures, given_by, strict=True)
    ]
    records = [
        msgspec.structs.replace(make_record(config.architecture, 20), config=config, run_id=config.run_id)
        for config in configs
    ]
    frame = tidy(to_frame(records))
    assert frame.cell.tolist() == names
    assert cell_heading(frame) == "Setting"


def test_tasks_that_have_budgets_of_their_own_are_named_by_what_they_were():
    records = [
        with_budget(budget, name, horizon)
        for name in ("gru", "lstm")
        for horizon, budget in ((5, 20_000), (10, 40_000))
    ]
    frame = tidy(to_frame(records))
    assert frame.cell.tolist() == ["5", "10"] * 2
    assert "total_timesteps" not in frame


def test_few_seeds_under_several_budgets_have_no_interval(tmp_path):
    """Six runs, of two seeds."""
    runs = [(budget, seed) for budget in BUDGETS for seed in (0, 1)]
    records = [
        with_budget(budget, seed=seed, success=budget / 100_000 + seed / 10, status="unsolved")
        for budget, seed in runs
    ]
    _, content = write(tmp_path, records)
    success = pd.read_csv(tmp_path / "tables" / "success.csv").set_index("cell")
    assert success.runs.to_dict() == {"20,000 steps": 2, "40,000 steps": 2, "80,000 steps": 2}
    assert success.interval_low.isna().all()
    assert success.loc["40,000 steps", "mean"] == pytest.approx(0.45)
    assert pd.read_csv(tmp_path / "tables" / "runs.csv").total_timesteps.tolist() == sorted(BUDGETS * 2)
    assert content.count("fewer than 5 seeds") == 3 and "Mixed settings" not in content


def test_memories_of_unequal_budgets_are_not_compared():
    tables = all_tables(tidy(to_frame([with_budget(20_000, "gru"), with_budget(40_000, "lstm")])))
    assert "ranking" not in tables and "gru_vs_lstm" not in tables
    assert tables["improvement"].values.cells.tolist() == [0]


def test_ladders_of_unequal_budgets_have_a_frontier_each():
    frontiers = {20_000: (16, 32, 64), 400_000: (256, 512, 1024)}
    records = [
        climb("gru", seed, far, total_timesteps=budget)
        for budget, reached in frontiers.items()
        for seed, far in enumerate(reached)
    ]
    values, shown = table_of(records, "frontier")
    assert values.set_index("cell").median_frontier.to_dict() == {"20,000 steps": 32, "400,000 steps": 512}
    assert shown.Setting.tolist() == ["20,000 steps", "400,000 steps"]
    assert answer(tidy(to_frame(records)))[0].startswith(
        "The longest horizon solved by climbing: GRU with “400,000 steps” 512 (median of 3 seeds, 256 to "
        "1,024); GRU with “20,000 steps” 32 (median of 3 seeds, 16 to 64)."
    )


def test_rungs_and_bits_are_told_budget_by_budget():
    rungs = [("supervised", False, "solved"), ("ppo", True, "solved"), ("ppo", False, "unsolved")]
    records = [given(rung_record(*rung), total_timesteps=budget) for rung in rungs for budget in BUDGETS[:2]]
    values, shown = table_of(records, "rungs")
    assert values.total_timesteps.tolist() == BUDGETS[:2] and values.ppo_runs.tolist() == [1, 1]
    assert shown.Budget.tolist() == ["20,000 steps", "40,000 steps"]

    records = [
        given(with_setting("gru", 20, 0, "task.num_items", items, success=success), total_timesteps=budget)
        for budget, success in zip(BUDGETS[:2], (0.25, 1.0), strict=True)
        for items in (1, 4)
    ]
    table = headline_table(to_frame(records))
    assert dict(zip(table.Budget, table["Bits recalled"], strict=True)) == {
        "20,000 steps": "0.0 of 10.0",
        "40,000 steps": "10.0 of 10.0",
    }


@pytest.mark.parametrize(("num_seeds", "told"), [(2, "fewer than 5 seeds"), (5, "")])
def test_an_interval_is_over_seeds_and_not_over_runs(num_seeds, told):
    """Runs of one seed on several threads are of one cell, and of one seed."""
    records = [
        given(
            make_record("gru", 5, seed, success=0.1 + seed / 10, steps_to_solved=steps),
            num_threads=num_threads,
            evaluation=EvaluationConfig(horizons=[50]),
        )
        for seed in range(num_seeds)
        for num_threads, steps in ((1, 10_000), (2, 20_000), (4, 30_000))
    ]
    records = [msgspec.structs.replace(one, success_at={50: one.success}) for one in records]
    tables = all_tables(tidy(to_frame(records)))
    for name, column in (
        ("success", "95 % interval of the mean"),
        ("generalisation", "95 % interval of the mean"),
    ):
        shown = tables[name].shown[column].tolist()
        assert (set(shown) == {told}) if told else all("–" in one for one in shown), name
    low, high = (tables["success"].values[f"interval_{end}"].item() for end in ("low", "high"))
    assert (low, high) == pytest.approx(
        bootstrap_interval([0.1 + seed / 10 for seed in range(5)]) if not told else (math.nan,) * 2,
        nan_ok=True,
    )
    assert tables["profiles"].values.seeds.tolist() == [str(num_seeds)]
    assert tables["steps_to_solved"].values.steps_to_solved_low.isna().all()


@pytest.mark.parametrize(
    "command", [["claims"], ["compare", "mamba", "gru", "--results"]], ids=["claims", "compare"]
)
@pytest.mark.parametrize("second", ["mamba", "gru"])
def test_runs_of_unequal_budgets_are_no_evidence(command, second, membench, tmp_path):
    """Neither where they are of one memory nor where they are of the two that are compared."""
    pair = [with_budget(20_000, "mamba"), with_budget(40_000, second, seed=1)]
    results_of(tmp_path / "unequal", "horizons", pair)
    code, out, err = membench(*command, tmp_path, "--json")
    assert code == 0
    assert f"{tmp_path / 'unequal'}: left out" in err and "total_timesteps" in err
    by_runs = [row for row in json.loads(out) if row.get("suite", "horizons") == "horizons"]
    assert {row.get("verdict") or row["kind"] for row in by_runs} <= {"not measured", "stated"}
    results_of(tmp_path / "unequal", "horizons", [with_budget(20_000, "mamba"), with_budget(20_000, "gru")])
    assert "left out" not in membench(*command, tmp_path)[2]
