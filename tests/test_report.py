"""Reports: every run counts, nothing is hidden, names are text, and the same records give the same files."""

import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest

from architectures import ARCHITECTURES
from membench.config import RunConfig, TaskConfig, build_config, merge, nest
from membench.errors import InputError
from membench.frame import to_frame
from membench.records import CurvePoint, Rung, RunRecord, Status
from membench.report import ReportHeading, all_tables, headline_table, write_report
from membench.report.capacity import capacity_figure
from membench.report.contents import Contents
from membench.report.differences import SIZE
from membench.report.figures import figures_for
from membench.report.frame import tidy
from membench.report.frontier import frontier_table
from membench.report.looks import LOOKS, looks
from membench.report.page import markdown_page
from membench.report.ranking import ranking_table
from membench.sizing import TOLERANCE

pytestmark = pytest.mark.plots(drawn=False)

FIVE = ["gru", "gru_pmm", "lstm", "transformer", "mamba"]
HEADING = ReportHeading(
    suite="horizons",
    profile="quick",
    question="How far back can each memory remember?",
    commands=["membench run --suite horizons"],
    seeds=[0, 1, 2],
)


def make_record(
    architecture: str = "gru",
    horizon: int = 10,
    seed: int = 0,
    status: Status = "solved",
    steps: int = 20_000,
    success: float | None = 1.0,
    **fields,
) -> RunRecord:
    """A run that learned in a straight line and, if solved, stopped then."""
    config = RunConfig(architecture=architecture, task=TaskConfig(horizon=horizon), seed=seed)
    learned = success if success is not None else 0.25
    curve = [make_point(at, 0.25 + (learned - 0.25) * at / steps) for at in range(2_000, steps + 1, 2_000)]
    identity: dict[str, Any] = {"run_id": config.run_id}
    ran = {
        "success": success,
        "steps": steps,
        "steps_to_solved": steps if status == "solved" else None,
        "seconds_to_solved": steps / 1000 if status == "solved" else None,
        "seconds": steps / 1000,
        "steps_per_second": 1234.0,
        "peak_memory_bytes": 410_000_000,
        "parameters": {"total": 12_345},
        "state_bytes": 512,
        "curve": curve,
        "machine": {"system": "Linux", "processor": "a processor", "cores": 2},
        "versions": {"membench": "0.1.0", "python": "3.11.7"},
    }
    return RunRecord(
        architecture=architecture,
        task="CueMemory-v0",
        horizon=horizon,
        seed=seed,
        status=status,
        recall_gap=horizon + 1,
        chance=0.25,
        config=config,
        **identity | (ran if status != "failed" else {}) | fields,
    )


def make_point(steps: int, success: float) -> CurvePoint:
    return CurvePoint(
        steps=steps,
        seconds=steps / 1000,
        horizon=20,
        success=success,
        train_success=success,
        learning_rate=1e-3,
        entropy=1.0,
        kl=0.0,
        clip_fraction=0.0,
        grad_norm=1.0,
        explained_variance=0.0,
    )


def write(results, records, missing=(), complaints=()):
    files = write_report(results, list(records), list(missing), list(complaints), HEADING)
    return files, files.report.read_text()


def five_memories(num_seeds=3):
    return [
        make_record(name, horizon, seed, steps=2_000 * (seed + 2), seconds_to_solved=float(horizon))
        for name in FIVE
        for horizon in (5, 10)
        for seed in range(num_seeds)
    ]


def read_table(results, name):
    return pd.read_csv(results / "tables" / f"{name}.csv").set_index(["architecture", "horizon"])


@pytest.mark.plots(drawn=True)
def test_a_report_has_every_table_and_plot(tmp_path):
    files, content = write(tmp_path, five_memories())
    for name in ("success", "steps_to_solved", "cost", "runs", "gru_vs_lstm", "gru_pmm_vs_mamba"):
        assert tmp_path / "tables" / f"{name}.csv" in files.tables
    assert "gru_pmm_vs_transformer.md" in {path.name for path in files.tables}
    assert {"success", "steps_to_solved", "learning_curves"} <= {plot.stem for plot in files.plots}
    for plot in files.plots:
        assert plot.stat().st_size > 1_000
        assert plot.suffix == ".svg" or f"plots/{plot.name}" in content
    assert "30 of 30 planned runs" in content
    assert "10M+" in content and "12,345" in content  # the document's claim, and what was measured


@pytest.mark.plots(drawn=True)
def test_the_same_records_give_the_same_files(tmp_path):
    records = five_memories()
    first, _ = write(tmp_path / "a", records)
    second, _ = write(tmp_path / "b", reversed(records))
    for one, other in zip(
        [first.report, first.page, *first.tables, *first.plots],
        [second.report, second.page, *second.tables, *second.plots],
        strict=True,
    ):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_medians_respect_runs_that_were_not_solved(tmp_path):
    records = [make_record(seed=seed, steps=steps) for seed, steps in enumerate((2_000, 4_000, 6_000))]
    records += [
        make_record("lstm", seed=seed, steps=40_000, status=status, success=0.5)
        for seed, status in enumerate(("unsolved", "unsolved", "solved"))
    ]
    _, content = write(tmp_path, records)
    table = read_table(tmp_path, "steps_to_solved")
    assert table.loc[("gru", 10), "median_steps_to_solved"] == 4_000
    assert not table.loc[("gru", 10), "steps_to_solved_is_lower_bound"]
    assert table.loc[("lstm", 10), "median_steps_to_solved"] == 40_000
    assert table.loc[("lstm", 10), "steps_to_solved_is_lower_bound"]
    assert "> 40,000" in content


def test_lost_runs_count_and_are_listed(tmp_path):
    records = [
        make_record(seed=0),
        make_record(seed=1, status="diverged", success=None, error="after 320 steps: loss nan"),
        make_record(seed=2, status="failed", error="its process ended"),
    ]
    _, content = write(tmp_path, records)
    table = read_table(tmp_path, "success")
    assert table.loc[("gru", 10), "runs"] == 3
    assert table.loc[("gru", 10), "mean"] == pytest.approx((1 + 0.25 + 0.25) / 3)
    assert "loss nan" in content and "its process ended" in content
    assert np.isinf(read_table(tmp_path, "steps_to_solved").loc[("gru", 10), "median_steps_to_solved"])


def test_intervals_come_from_five_seeds_on(tmp_path):
    few = [make_record(seed=seed, success=0.5 + seed / 10) for seed in range(4)]
    equal = [make_record("lstm", seed=seed) for seed in range(5)]
    enough = [make_record("mamba", seed=seed, success=0.5 + seed / 10) for seed in range(5)]
    _, content = write(tmp_path, [*few, *equal, *enough])
    table = read_table(tmp_path, "success")
    assert table["interval_low"].notna().to_dict() == {
        ("gru", 10): False,
        ("lstm", 10): False,
        ("mamba", 10): True,
    }
    assert table.loc[("mamba", 10), "interval_low"] < 0.7 < table.loc[("mamba", 10), "interval_high"]
    assert "fewer than 5 seeds" in content and "all seeds equal" in content


def test_a_half_finished_suite_says_what_is_missing(tmp_path):
    _, content = write(
        tmp_path, five_memories()[:4], missing=["mamba, horizon 20, seed 2"], complaints=["x.json: broken"]
    )
    assert "no record: mamba, horizon 20, seed 2" in content
    assert "4 of 5 planned runs" in content and "x.json: broken" in content
    assert "The document's comparisons" not in content  # no pair of them has run yet


@pytest.mark.plots(drawn=True)
def test_no_record_at_all(tmp_path):
    files, content = write(tmp_path, [], missing=["gru, horizon 5, seed 0"])
    assert "no record of any run" in content and not files.plots


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a|b:C", "my.module:My_Memory", "x\ny:Z", "$x$:Y"]
)
def test_a_name_is_text_and_nothing_else(name, tmp_path):
    _, content = write(tmp_path, [make_record(), make_record(name)])
    assert "<script" not in content
    rows = [line for line in content.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:4]}) == 1


def test_runs_of_mixed_settings_are_pointed_out(tmp_path):
    twice = [make_record(run_id="one"), make_record(run_id="two")]
    assert "Mixed settings" in write(tmp_path, twice)[1]
    assert "Mixed settings" not in write(tmp_path, twice[:1])[1]


def test_a_comparison_measures_at_the_longest_horizon_of_the_pair(tmp_path):
    write(
        tmp_path,
        [
            make_record("gru_pmm", 5, steps_per_second=9_000.0),
            make_record("gru_pmm", 20, status="unsolved", success=0.5, steps_per_second=3_400.0),
            make_record("transformer", 5),
            make_record("gru", 100),
        ],
    )
    table = pd.read_csv(tmp_path / "tables" / "gru_pmm_vs_transformer.csv").set_index("Feature")
    assert list(table.index) == ["Memory", "Complexity", "Long sequences", "Training speed", "Parameters"]
    assert table.loc["Training speed", "GRU+PMM: measured"] == "3.4k steps/s at horizon 20"
    assert table.loc["Long sequences", "GRU+PMM: measured"] == "0/1 solved, success 0.50 at horizon 20"
    assert table.loc["Long sequences", "Transformer: measured"] == "not run at horizon 20"
    assert table.loc["Parameters", "Transformer: measured"] == "12,345"
    assert "stated" in table.loc["Complexity", "GRU+PMM: measured"]


def test_a_comparison_is_of_a_pair_that_ran_and_of_one_agent_each():
    pair = [make_record("gru"), make_record("lstm"), make_record("transformer")]
    names = {name for name in all_tables(tidy(to_frame(pair))) if "_vs_" in name}
    assert names == {"gru_vs_lstm"}
    layers = [with_setting(name, 10, 0, "memory.num_layers", n) for name in ("gru", "lstm") for n in (1, 2)]
    assert not any("_vs_" in name for name in all_tables(tidy(to_frame(layers))))


def test_sizes_that_were_matched_are_not_measured_against_the_document():
    records = []
    for name, parameters in (("gru", 228_213), ("lstm", 222_029)):
        config = RunConfig(architecture=name, memory={"hidden_size": 96}, matched_parameters=225_000)
        record = make_record(name, parameters={"total": parameters})
        records.append(msgspec.structs.replace(record, config=config))
    table = all_tables(tidy(to_frame(records)))["gru_vs_lstm"].shown.set_index("Feature")
    assert table.loc["Parameters", "GRU: measured"] == "matched to 225,000: 228,213"
    assert table.loc["Parameters", "LSTM: measured"] == "matched to 225,000: 222,029"


@pytest.mark.parametrize(
    ("parameters", "state", "shown"),
    [
        ((52_105, 597_257), (512, 2048), ("52,105–597,257", "512 B–2.0 kB")),
        ((100, 102, 104, 105), (1024,) * 4, ("102", "1.0 kB")),  # the lower median: of an agent
        ((100, 106), (0, 0), ("100–106", "0 B")),
        ((1_050, 1_149), (10_500, 11_400), ("1,050–1,149", "10 kB–11 kB")),
    ],
)
def test_sizes_of_several_agents_are_told_from_least_to_most(parameters, state, shown):
    records = [
        make_record(seed=seed, parameters={"total": total}, state_bytes=size)
        for seed, (total, size) in enumerate(zip(parameters, state, strict=True))
    ]
    found = all_tables(tidy(to_frame(records)))
    assert found["cost"].shown[["Parameters", "State per environment"]].to_numpy().tolist() == [list(shown)]
    assert found["headline"].shown.Parameters.tolist() == [shown[0]]
    (values,) = found["cost"].values.to_dict("records")
    assert values["parameters"] in parameters and values["state_bytes"] in state
    assert (values["parameters_least"], values["parameters_most"]) == (parameters[0], parameters[-1])
    assert SIZE.share == TOLERANCE


def test_headline_counts_what_is_there():
    records = [
        make_record(seed=0, steps_per_second=11_400.0),
        make_record(seed=1, status="unsolved", success=0.5, steps_per_second=11_400.0),
        make_record("mamba", 20, steps_per_second=1_900.0),
    ]
    table = headline_table(to_frame(records)).set_index("Memory")
    assert table.loc["GRU", "Horizon 10"] == "0.75 (1/2)"
    assert table.loc["GRU", "Horizon 20"] == table.loc["GRU", "Steps/s at 20"] == "—"
    assert table.loc["Mamba", "Steps/s at 20"] == "1.9k"
    assert headline_table(to_frame([])).empty


@pytest.mark.plots(drawn=True)
def test_a_name_is_text_in_pictures_too(tmp_path):
    files, _ = write(tmp_path, [make_record("<script>$x$:_Y"), make_record("_z:漢字")])
    assert all(b"<script" not in plot.read_bytes() for plot in files.plots if plot.suffix == ".svg")


def test_every_architecture_has_a_look_of_its_own():
    assert LOOKS.keys() == ARCHITECTURES.keys()
    built_in = looks(LOOKS)
    assert built_in == LOOKS and looks(["gru"])["gru"] == LOOKS["gru"]  # the same in whatever company
    for part in ("marker", "line"):  # of one colour, told apart by either alone
        assert len({(look.colour, getattr(look, part)) for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.name for look in LOOKS.values()}) == len(LOOKS)
    others = looks([*LOOKS, *(f"my.module:Memory{number}" for number in range(12))])
    assert len({(look.colour, look.line) for look in others.values()}) == len(LOOKS) + 12
    assert len({look.colour for look in looks(FIVE).values()}) == len(FIVE)


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "tables").write_text("in the way")
    with pytest.raises(InputError, match="cannot write the report there"):
        write(tmp_path, [make_record()])


def test_reports_need_no_torch():
    code = "import sys, membench.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def climb(architecture, seed, frontier, total_timesteps=10_000_000, **fields):
    """A ladder run that solved every rung up to `frontier`."""
    config = RunConfig(
        architecture=architecture,
        task=TaskConfig(horizon=8),
        ladder=True,
        seed=seed,
        total_timesteps=total_timesteps,
    )
    horizons = [8 * 2**k for k in range(20) if 8 * 2**k <= frontier]
    rungs = [Rung(horizon=horizon, steps=100 * horizon, seconds=horizon / 8) for horizon in horizons]
    solved = {"steps_to_solved": rungs[-1].steps, "seconds_to_solved": rungs[-1].seconds} if rungs else {}
    return msgspec.structs.replace(
        make_record(architecture, 2 * frontier or 8, seed, status="solved" if rungs else "unsolved"),
        run_id=config.run_id,
        config=config,
        recall_gap=(frontier or 8) + 1,
        frontier=frontier if rungs else None,
        rungs=rungs,
        **{"steps": 300_000, "seconds": 400.0, "steps_to_solved": None, "seconds_to_solved": None}
        | solved
        | fields,
    )


@pytest.mark.plots(drawn=True)
def test_ladders_get_their_frontier_and_no_table_of_horizons(tmp_path):
    records = [climb("gru", seed, frontier) for seed, frontier in enumerate((64, 1024, 256))]
    records += [climb("lstm", 0, 128), climb("lstm", 1, 0, success=0.3)]
    files, content = write(tmp_path, records)
    table = pd.read_csv(tmp_path / "tables" / "frontier.csv").set_index("architecture")
    assert table.loc["gru", "median_frontier"] == 256
    assert table.loc["gru", "median_steps_to_frontier"] == 25_600  # two of three, and not that of 64
    assert table.loc["lstm", "median_frontier"] == 0  # the lower of 0 and 128: never a horizon not solved
    assert pd.isna(table.loc["lstm", "median_steps_to_frontier"])  # no time until nothing
    assert table.loc["gru", "by_seed"] == "64 1024 256"
    assert "64, 1,024, 256" in content and "the recall gap is 1 step more" in content
    assert {path.stem for path in files.plots} == {"frontier", "cost"}
    assert "How long until solved" not in content
    assert list(headline_table(to_frame(records)).columns[:3]) == ["Memory", "Frontier", "Every seed"]


def test_ladders_that_fell_short_of_the_median_frontier_count_in_its_median_time():
    # Two of four had solved 64 by 6,400 steps, the third later; the fourth, which never did, was watched on.
    records = [climb("gru", seed, frontier) for seed, frontier in enumerate((64, 64, 64, 8))]
    slow = [Rung(horizon=8, steps=800, seconds=1.0), Rung(horizon=64, steps=90_000, seconds=100.0)]
    records[2] = msgspec.structs.replace(records[2], rungs=slow)
    assert frontier_table(tidy(to_frame(records))).values.median_steps_to_frontier.item() == 90_000
    records[3] = msgspec.structs.replace(records[3], steps=20_000)  # stopped before the third got there
    assert frontier_table(tidy(to_frame(records))).shown["Steps to it"].item() == "> 20,000"


def test_a_ladder_says_how_far_its_budget_has_room_for():
    # Two rollouts of 32 episodes of 10 and of 18 steps: 640 and 1,152.
    records = [climb("gru", 0, 16, total_timesteps=1_792), climb("lstm", 0, 8, total_timesteps=1_791)]
    assert to_frame(records).highest_rung.tolist() == [16, 8]
    assert to_frame([make_record()]).highest_rung.tolist() == [None]


def capacity_record(architecture, horizon, items, success, seed=0, **settings):
    config = RunConfig(
        architecture=architecture, task=TaskConfig(horizon=horizon, num_items=items), seed=seed, **settings
    )
    record = make_record(architecture, horizon, seed, success=success)
    return msgspec.structs.replace(record, run_id=config.run_id, config=config)


@pytest.mark.plots(drawn=True)
def test_capacity_is_in_bits_by_horizon_and_items(tmp_path):
    records = [
        capacity_record(name, horizon, items, success)
        for name in ("gru", "lstm")
        for horizon, success in ((5, 1.0), (20, 0.25))
        for items in (1, 4)
    ]
    files, content = write(tmp_path, records)
    table = pd.read_csv(tmp_path / "tables" / "capacity.csv").set_index(["architecture", "cell"])
    assert table.loc[("gru", "horizon 5, 4 items"), "bits"] == 8.0
    assert table.loc[("gru", "horizon 20, 4 items"), "bits"] == 0.0
    assert table.loc[("lstm", "horizon 5, 1 item"), "bits_shown"] == 2.0
    assert "capacity" in {path.stem for path in files.plots}
    assert "One seed per cell" in content


def test_of_cues_that_overwrite_one_another_the_latest_alone_is_held():
    frame = tidy(to_frame([capacity_record("gru", 5, items, 1.0) for items in (1, 3)]))
    assert list(frame.bits_shown) == [2.0, 6.0]
    latest = [
        msgspec.structs.replace(capacity_record("gru", 5, items, 1.0), task="Overwrite-v0")
        for items in (1, 3)
    ]
    frame = tidy(to_frame(latest))
    assert list(frame.bits_shown) == list(frame.bits) == [2.0, 2.0]


def test_delays_from_none_on_are_another_task_than_a_fixed_delay():
    records = [
        with_setting("gru", 10, seed, path, value)
        for seed in (0, 1)
        for path, value in (("task.horizon", 10), ("task.min_horizon", 0))
    ]
    assert sorted(set(tidy(to_frame(records)).cell)) == ["delay from 0", "plain"]


def test_what_was_lost_after_it_was_solved_was_never_solved():
    lost = [make_record("gru", 5, seed, status="diverged", steps_to_solved=4_000) for seed in range(3)]
    values, _ = all_tables(tidy(to_frame(lost)))["steps_to_solved"]
    assert values.solved.item() == 0 and np.isinf(values.median_steps_to_solved.item())


def test_every_task_counts_once_in_the_bits_recalled_whatever_the_settings():
    records = [
        capacity_record("gru_pmm", 20, items, success, memory={"num_slots": slots})
        for items in (1, 4)
        for slots, success in ((32, 1.0), (64, 0.25))
    ]
    table = headline_table(to_frame(records)).set_index("Memory")
    # Of 2 and of 8 bits, all with 32 slots and none with 64.
    assert table.loc["GRU+PMM", "Bits recalled"] == "5.0 of 10.0"


@pytest.mark.parametrize(("num_seeds", "told"), [(1, "one seed"), (2, "mean of 2 seeds")])
def test_a_map_says_of_how_many_seeds_it_is(num_seeds, told):
    records = [capacity_record("gru", 5, items, 1.0, seed) for items in (1, 4) for seed in range(num_seeds)]
    *_, scale = capacity_figure(tidy(to_frame(records))).axes
    assert scale.get_ylabel().endswith(told)


@pytest.mark.plots(drawn=True)
def test_sizes_are_named_where_a_memory_has_several_and_matched_widths_never(tmp_path):
    def matched(width):
        return {"memory": {"hidden_size": width}, "matched_parameters": 225_000}

    records = [
        capacity_record("gru", 20, 1, 1.0, **matched(96)),
        capacity_record("gru", 20, 4, 1.0, **matched(88)),
        capacity_record("gru", 20, 4, 0.25, memory={"hidden_size": 24}),
        capacity_record("gru_pmm", 20, 4, 1.0, **matched(64)),
        capacity_record("gru_pmm", 20, 4, 0.25, memory={"num_slots": 32}),
    ]
    files, _ = write(tmp_path, records)
    table = pd.read_csv(tmp_path / "tables" / "capacity.csv").set_index(["architecture", "cell"])
    assert table.bits.to_dict() == {
        ("gru", "1 item"): 2.0,
        ("gru", "4 items"): 8.0,
        ("gru", "4 items, 24 units"): 0.0,
        ("gru_pmm", "4 items"): 8.0,
        ("gru_pmm", "4 items, 32 slots"): 0.0,
    }
    headline = headline_table(to_frame(records)).set_index("Memory")["Bits recalled"]
    assert headline.to_dict() == {"GRU": "10.0 of 10.0", "GRU+PMM": "8.0 of 8.0"}
    map_text = next(path for path in files.plots if path.name == "capacity.svg").read_text()
    assert "4 x 4, 32 slots" in map_text and "4 x 4, 24 units" in map_text


def test_tasks_that_only_differ_between_memories_are_cells_of_their_own():
    records = [capacity_record("gru", 100, 4, 1.0), capacity_record("lstm", 20, 1, 1.0)]
    frame = tidy(to_frame(records))
    assert frame.cell.tolist() == ["horizon 100, 4 items", "horizon 20, 1 item"]
    assert frame.cell_place.tolist() == [1, 0]


def test_cells_are_named_by_what_tells_them_apart(tmp_path):
    tasks = [
        TaskConfig(horizon=100),
        TaskConfig(horizon=50, query_flag=True),
        TaskConfig(horizon=50, observation_noise=0.1),
    ]
    records = []
    for task in tasks:
        config = RunConfig(architecture="gru", task=task)
        record = make_record("gru", task.horizon)
        records.append(msgspec.structs.replace(record, run_id=config.run_id, config=config))
    _, content = write(tmp_path, records)
    table = pd.read_csv(tmp_path / "tables" / "success.csv")
    assert set(table.cell) == {"horizon 100", "horizon 50, query flag", "horizon 50, noise 0.1"}
    assert "Mixed settings" not in content
    assert "horizon 50, query flag" in content


def rung_record(objective, reveal_cue, status):
    config = RunConfig(architecture="gru", task=TaskConfig(reveal_cue=reveal_cue), objective=objective)
    record = make_record("gru", 20, status=status)
    return msgspec.structs.replace(record, run_id=config.run_id, config=config)


@pytest.mark.parametrize(
    ("told", "shown", "whole", "fails"),
    [
        ("solved", "solved", "solved", "nothing"),
        ("unsolved", "solved", "unsolved", "memory: it cannot hold the cue"),
        ("solved", "solved", "unsolved", "optimisation: PPO cannot teach it to hold"),
        ("solved", "unsolved", "diverged", "harness: not even the shown cue is learned"),
    ],
)
def test_rungs_say_what_fails(tmp_path, told, shown, whole, fails):
    records = [
        rung_record("supervised", False, told),
        rung_record("ppo", True, shown),
        rung_record("ppo", False, whole),
    ]
    _, content = write(tmp_path, records)
    table = pd.read_csv(tmp_path / "tables" / "rungs.csv")
    assert table.verdict.tolist() == [fails]
    assert "Cannot hold, or cannot learn" in content


def test_a_rung_that_was_not_run_gives_no_verdict(tmp_path):
    write(tmp_path, [rung_record("supervised", False, "solved"), rung_record("ppo", False, "unsolved")])
    assert pd.read_csv(tmp_path / "tables" / "rungs.csv").verdict.tolist() == ["not run on every rung"]


def test_runs_called_solved_that_do_not_hold_up_are_counted(tmp_path):
    _, content = write(
        tmp_path,
        [
            make_record(seed=0, sampled_success=0.99),
            make_record(seed=1, sampled_success=0.90),
            make_record(seed=2, success=0.94, sampled_success=0.50),
            make_record(seed=3, status="unsolved", success=0.3, sampled_success=0.3),
        ],
    )
    assert "Of the 3 runs called solved, 1 fell below their mark" in content
    assert "training, and 2 with actions drawn" in content


MANY = [*FIVE, "rnn", "lru", "ntm", "none", "oracle"]


def revealing(record):
    """The record of a run whose task shows the cue at the query."""
    task = msgspec.structs.replace(record.config.task, reveal_cue=True)
    return msgspec.structs.replace(record, config=msgspec.structs.replace(record.config, task=task))


def many_memories():
    records = [make_record(name, 5, seed) for name in MANY[:-1] for seed in range(3)]
    return [*records, *(revealing(make_record("oracle", 5, seed)) for seed in range(3))]


def test_the_oracle_stands_beside_the_memories_whose_ceiling_it_is():
    table = headline_table(to_frame(many_memories())).set_index("Memory")
    assert table.loc["oracle (sees cue)", "Horizon 5"] == table.loc["GRU", "Horizon 5"] == "1.00 (3/3)"


@pytest.mark.parametrize(("names", "is_many"), [(MANY[:8], False), (MANY, True)])
def test_more_memories_than_colours_get_a_row_each(names, is_many):
    frame = tidy(to_frame([record for record in many_memories() if record.architecture in names]))
    figure = figures_for(frame)["steps_to_solved"](frame)
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert (rows[:2] == ["GRU", "GRU+PMM"] and len(rows) == len(names)) == is_many
    curves = figures_for(frame)["learning_curves"](frame)
    assert (len(curves.axes) == len(names)) == is_many


def test_in_rows_every_seed_is_seen_and_none_hides_another():
    records = [make_record(name, 5, 0, steps=4_000) for name in MANY[1:]]
    records += [make_record("gru", 5, seed, steps=4_000 + 2_000 * (seed == 2)) for seed in range(3)]
    records += [make_record("gru", 5, 3, status="unsolved", success=0.5, steps=8_000)]
    frame = tidy(to_frame(records))
    (axes,) = figures_for(frame)["steps_to_solved"](frame).axes
    points = [line.get_xydata() for line in axes.lines if line.get_marker() == "o"]
    seen = {tuple(np.round(point, 6)) for line in points for point in line if np.isfinite(point).all()}
    in_first_row = sorted(x for x, y in seen if abs(y) < 0.5)
    assert in_first_row == [4_000, 4_000, 6_000, 8_000]
    strokes = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert strokes[0] == 6_000  # of 4,000, 4,000, 6,000 and more than 8,000 the later of the middle two


def test_in_rows_a_lost_run_is_crossed_out_in_every_figure():
    records = [make_record(name, 5, 0) for name in MANY]
    records += [make_record("gru", 5, 1, status="diverged", success=None, error="loss nan")]
    frame = tidy(to_frame(records))
    for name in ("success", "steps_to_solved", "learning_curves"):
        figure = figures_for(frame)[name](frame)
        crosses = [line.get_xydata() for line in figure.axes[0].lines if line.get_marker() == "x"]
        assert np.isfinite(np.concatenate(crosses)).all(1).sum() == 1, name
        assert "diverged or failed" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_in_a_grid_every_curve_is_seen_to_its_end():
    records = [make_record(name, 5, 0, steps=2_000 * (place + 1)) for place, name in enumerate(MANY)]
    frame = tidy(to_frame(records))
    figure = figures_for(frame)["learning_curves"](frame)
    for axes in figure.axes:
        steps = axes.lines[1].get_xdata()
        assert axes.get_xlim()[0] == 0 and steps[-1] <= axes.get_xlim()[1]


def test_in_rows_five_seeds_have_an_interval():
    records = [make_record(name, 5, 0) for name in MANY[1:]]
    records += [make_record("gru", 5, seed, success=0.5 + 0.1 * seed, status="unsolved") for seed in range(5)]
    frame = tidy(to_frame(records))
    (axes,) = figures_for(frame)["success"](frame).axes
    (interval,) = [segments for lines in axes.collections for segments in lines.get_segments()]
    assert interval[0][0] < 0.7 < interval[1][0] and interval[0][1] == 0


def with_setting(architecture, horizon, seed, path, value, **fields):
    """A run with one setting of its own."""
    settings = merge(
        {"architecture": architecture, "task": {"horizon": horizon}, "seed": seed}, nest(path, value)
    )
    config = build_config(settings)
    record = make_record(architecture, horizon, seed, **fields)
    return msgspec.structs.replace(record, run_id=config.run_id, config=config)


def test_what_a_setting_does_stands_beside_what_the_document_says():
    solved = {"status": "solved", "success": 1.0}
    unsolved = {"status": "unsolved", "steps_to_solved": None}
    records = []
    for seed in range(3):
        # Wide is quicker at 5; at 20 narrow solves two runs of three, wide none.
        records += [
            with_setting("gru", 5, seed, "memory.hidden_size", 128, steps_to_solved=40_000, **solved),
            with_setting("gru", 5, seed, "memory.hidden_size", 256, steps_to_solved=20_000, **solved),
            with_setting("gru", 20, seed, "memory.hidden_size", 256, success=0.5, **unsolved),
        ]
    records += [
        with_setting("gru", 20, seed, "memory.hidden_size", 128, steps_to_solved=90_000, **solved)
        for seed in (0, 1)
    ]
    larger = {"parameters": {"total": 20_000}}
    records.append(with_setting("gru", 20, 2, "memory.hidden_size", 128, success=0.25, **unsolved, **larger))
    values, shown = all_tables(tidy(to_frame(records)))["impact"]
    narrow, wide = values.to_dict("records")
    assert (narrow["best"], wide["best"]) == ("horizon 20", "horizon 5")
    assert (narrow["solved"], narrow["runs"], wide["solved"]) == (5, 6, 3)
    # Standard deviations over seeds: 0 at 5; at 20, of 1, 1 and 0.25, 0.75 / sqrt 3.
    assert narrow["spread_over_seeds"] == pytest.approx(0.75 / 3**0.5 / 2)
    assert narrow["Steps to solved, horizon 5"] == 40_000
    row = shown.to_dict("records")[0]
    assert row["Parameters"] == "12,345–20,000" and row["State per environment"] == "512 B"
    assert row["Speed (document)"] == "Fast" and row["Best for (document)"] == "Horizon <10"


def test_a_difference_within_the_tolerance_makes_no_setting_the_best():
    records = [
        with_setting(
            "gru", 5, seed, "memory.hidden_size", size, success=1.0, status="solved", steps_to_solved=steps
        )
        for size, steps in ((128, 4000), (256, 3990))
        for seed in range(2)
    ]
    values, _ = all_tables(tidy(to_frame(records)))["impact"]
    assert list(values["best"]) == ["", ""]


def test_settings_that_the_document_has_no_table_for_get_none():
    records = [with_setting("gru", 5, seed, "ppo.discount", 0.9 + seed / 20) for seed in (0, 1)]
    frame = tidy(to_frame(records))
    assert frame.cell.tolist() == ["discount 0.9", "discount 0.95"]
    assert "impact" not in all_tables(frame)


@pytest.mark.parametrize(
    ("path", "values", "names"),
    [
        ("memory.num_layers", [1, 2], ["1 layer", "2 layers"]),
        ("agent.head", ["categorical", "gaussian"], ["categorical head", "gaussian head"]),
        ("ppo.discount", [0.9, 0.99], ["discount 0.9", "discount 0.99"]),
    ],
)
def test_cells_are_named_by_their_settings(path, values, names):
    frame = tidy(to_frame([with_setting("gru", 5, 0, path, value) for value in values]))
    assert frame.cell.tolist() == names


def test_sizes_that_were_chosen_for_a_number_of_parameters_tell_no_cells_apart():
    configs = [
        RunConfig(architecture="gru", memory={"hidden_size": size}, matched_parameters=1000, seed=size)
        for size in (8, 9)
    ]
    records = [
        msgspec.structs.replace(make_record("gru", 20), config=one, run_id=one.run_id) for one in configs
    ]
    assert tidy(to_frame(records)).cell.tolist() == ["20", "20"]


def ranked(*by_memory):
    """Records of memories, each a list of every seed's success at horizons 5 and 10."""
    return [
        make_record(name, horizon, seed, success=value, status="solved" if value == 1 else "unsolved")
        for name, by_horizon in by_memory
        for horizon, values in zip((5, 10), by_horizon, strict=True)
        for seed, value in enumerate(values)
    ]


def test_ranking_pools_the_runs_of_all_cells(tmp_path):
    gru = [[0.25, 0.5, 0.75, 1.0, 1.0], [0.25, 0.25, 0.5, 0.75, 1.0]]
    write(tmp_path, ranked(("gru", gru), ("lstm", [[1.0] * 5] * 2), ("mamba", [[0.5, 0.75], [0.5]])))
    table = pd.read_csv(tmp_path / "tables" / "ranking.csv").set_index("architecture")
    assert table["rank"].to_dict() == {"lstm": 1, "gru": 2, "mamba": 3}
    # Two of ten are cut at either end of 3 x 0.25, 2 x 0.5, 2 x 0.75, 3 x 1.
    assert table.loc["gru", "interquartile_mean"] == pytest.approx((0.25 + 0.5 * 2 + 0.75 * 2 + 1) / 6)
    assert table.loc["gru", "mean"] == table.loc["gru", "median"] == pytest.approx(0.625)
    assert table.loc["gru", ["cells", "runs", "solved"]].tolist() == [2, 10, 3]
    assert table.loc["gru", "interval_low"] < 0.625 < table.loc["gru", "interval_high"]
    shown = (tmp_path / "tables" / "ranking.md").read_text()
    assert "all seeds equal" in shown and "fewer than 5 seeds" in shown and "1–2" in shown


def page(records):
    """The Markdown page without its figures."""
    frame = tidy(to_frame(records))
    return markdown_page(Contents(HEADING, records, frame, all_tables(frame), {}, [], []))


def test_memories_of_other_cells_are_named_and_not_ranked():
    records = [*ranked(("gru", [[1.0], [0.5]]), ("lstm", [[0.5], [0.5]])), make_record("mamba", 10)]
    found = all_tables(tidy(to_frame(records)))["ranking"]
    assert found.values.architecture.tolist() == ["gru", "lstm"]
    assert found.shown.Solved.tolist() == ["1/2", "0/2"]
    assert "Not ranked, for they ran in other cells: Mamba." in page(records)
    assert "Not ranked" not in page(records[:-1])


@pytest.mark.plots(drawn=True)
def test_where_nothing_was_solved_or_shared_nothing_is_ranked(tmp_path):
    unsolved = ranked(("gru", [[0.5], [0.5]]), ("lstm", [[0.25], [0.5]]))
    apart = [make_record("gru", 5), make_record("lstm", 10)]
    for records in (unsolved, apart):
        assert "ranking" not in all_tables(tidy(to_frame(records)))
    files, _ = write(tmp_path, unsolved)
    assert "ranking" not in {path.stem for path in files.plots}


def test_ranking_counts_lost_runs():
    records = [make_record(seed=0), make_record(seed=1, status="failed", success=None)]
    assert ranking_table(tidy(to_frame(records))).values["mean"].tolist() == [0.625]


def test_improvement_pairs_seeds(tmp_path):
    # In cell 5, GRU wins 1 of 4 and ties in 1; in cell 10 it always wins.
    write(tmp_path, ranked(("gru", [[0.5, 0.75], [1.0, 1.0]]), ("lstm", [[0.75, 1.0], [0.5, 0.25, 0.5]])))
    (row,) = pd.read_csv(tmp_path / "tables" / "improvement.csv").to_dict("records")
    assert (row["architecture"], row["other"], row["cells"], row["seeds"]) == ("gru", "lstm", 2, "2–3")
    assert row["probability"] == pytest.approx((0.5 / 4 + 1) / 2)
    # The third seed of cell 10 has no partner.
    assert row["difference"] == pytest.approx((-0.25 + (0.5 + 0.75) / 2) / 2) and row["pairs"] == 4


def test_a_paired_difference_is_surer_than_an_unpaired_probability(tmp_path):
    hard = [0.3, 0.5, 0.7, 0.9, 0.4]
    better = [value + 0.05 + 0.01 * seed for seed, value in enumerate(hard)]
    write(tmp_path, ranked(("gru", [better, better]), ("lstm", [hard, hard])))
    (row,) = pd.read_csv(tmp_path / "tables" / "improvement.csv").to_dict("records")
    assert row["probability_low"] < 0.5 < row["probability"]
    assert 0.05 < row["difference_low"] < row["difference"] < row["difference_high"] < 0.09


def test_memories_without_a_cell_in_common_are_not_compared(tmp_path):
    write(tmp_path, [make_record("gru", 5), make_record("lstm", 10)])
    assert "no cell in common" in (tmp_path / "tables" / "improvement.md").read_text()


def test_a_run_has_the_wilson_interval_of_its_answers(tmp_path):
    write(tmp_path, [capacity_record("gru", 5, 4, 0.9), make_record("lstm", status="failed", success=None)])
    table = pd.read_csv(tmp_path / "tables" / "runs.csv").set_index("architecture")
    assert table.loc["gru", "num_answers"] == 4_000
    # 0.9 -+ 1.96 sqrt(0.09 / 4000), drawn a little to one half.
    assert table.loc["gru", "success_low"] == pytest.approx(0.9 - 0.0093 - 0.0004, abs=2e-4)
    assert table.loc["gru", "success_high"] == pytest.approx(0.9 + 0.0093 - 0.0004, abs=2e-4)
    assert np.isnan(table.loc["lstm", "success_low"])


def test_a_run_of_maml_has_no_interval_of_its_answers_and_says_why(tmp_path):
    record = make_record()
    config = msgspec.structs.replace(record.config, objective="maml")
    write(tmp_path, [msgspec.structs.replace(record, config=config)])
    (row,) = pd.read_csv(tmp_path / "tables" / "runs.csv").to_dict("records")
    assert np.isnan(row["num_answers"]) and np.isnan(row["success_low"])
    assert "answers share weights" in (tmp_path / "tables" / "runs.md").read_text()


def test_every_table_is_latex_too(tmp_path):
    files, _ = write(tmp_path, [make_record(), make_record("a_b & 5%:{C}")])
    assert {path.stem for path in files.tables if path.suffix == ".tex"} == {
        path.stem for path in files.tables if path.suffix == ".csv"
    }
    ranking = (tmp_path / "tables" / "ranking.tex").read_text()
    assert r"a\_b \& 5\%:\{C\}" in ranking and r"Its 95 \% interval" in ranking
    rows = [line for line in ranking.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3 and {row.replace(r"\&", "").count("&") for row in rows} == {8}


def test_profiles_count_runs_above_and_cells_alike(tmp_path):
    write(tmp_path, ranked(("gru", [[0.5, 1.0], [0.25, 0.5, 0.8, 0.9]])))
    profile = pd.read_csv(tmp_path / "tables" / "profiles.csv").set_index("architecture").loc["gru"]
    # Above a half, not at it: 1 of 2 and 2 of 4.
    assert profile.drop("seeds").to_dict() == {
        "> 0.25": 0.875,
        "> 0.5": 0.5,
        "> 0.75": 0.5,
        "> 0.9": 0.25,
        "> 0.95": 0.25,
        "> 0.99": 0.25,
    }


def test_steps_to_solved_have_an_interval_from_five_seeds(tmp_path):
    write(tmp_path, [make_record(seed=seed, steps=2_000 * (seed + 1)) for seed in range(10)])
    table = read_table(tmp_path, "steps_to_solved").loc[("gru", 10)]
    # As of ten runs in test_stats: from the first to the eighth.
    assert (table.steps_to_solved_low, table.steps_to_solved_high) == (2_000, 16_000)
    assert "2,000–16,000" in (tmp_path / "tables" / "steps_to_solved.md").read_text()


@pytest.mark.plots(drawn=True)
def test_a_ladder_of_which_nothing_was_solved_has_a_figure_that_says_so(tmp_path):
    files, _ = write(tmp_path, [climb("gru", 0, 0), climb("lstm", 0, 0, status="diverged", error="loss")])
    drawn = next(path for path in files.plots if path.name == "frontier.svg").read_text()
    assert "no run solved its first horizon" in drawn
