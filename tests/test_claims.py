"""Claims of the document: judged as a reader would who sees every run."""

import csv
import json
import math

import msgspec
import pytest
from test_report import make_record

from membench.config import build_config, merge, nest
from membench.folders import make_results_folder
from membench.frame import to_frame
from membench.plan import Plan, read_plan, write_plan
from membench.records import CueGradient, pack_records, write_record
from membench.report.claims import CLAIMS, DOCUMENT_SIZES, claims_table
from membench.report.comparisons import comparison_tables
from membench.report.differences import (
    EXACT,
    SPEED,
    SUCCESS,
    Tolerance,
    borne_out,
    order_of_counts,
)
from membench.report.frame import tidy
from membench.report.impact import spread_over_seeds
from membench.report.judging import (
    better,
    does_as_well,
    does_best,
    has_parameters,
    helps,
    horizons,
    larger,
    ordered,
    similar,
)
from membench.report.measures import instability, steps_to_solved, training_speed
from membench.suite import list_suites, load_suite, plan_runs

WIDTH = "memory.hidden_size"


def run_with(path, value, architecture="gru", horizon=10, seed=0, **fields):
    settings = {"architecture": architecture, "task": {"horizon": horizon}, "seed": seed}
    config = build_config(merge(settings, nest(path, value)))
    record = make_record(architecture, horizon, seed, **fields)
    return msgspec.structs.replace(record, run_id=config.run_id, seed=config.seed, config=config)


def in_three_seeds(records):
    """Return each record three times, for two runs a side decide nothing."""
    configs = [
        (record, msgspec.structs.replace(record.config, seed=seed)) for record in records for seed in range(3)
    ]
    return [
        msgspec.structs.replace(record, run_id=config.run_id, seed=config.seed, config=config)
        for record, config in configs
    ]


def judged(judge, records):
    return judge(tidy(to_frame(records)))


def speeds(architecture, *values):
    return [
        run_with(WIDTH, width, architecture, steps_per_second=speed)
        for width, speed in zip((128, 256, 512), values, strict=True)
    ]


@pytest.mark.parametrize(
    ("gru", "lstm", "expected"),
    [
        ((9.0, 5.0, 1.0), (9.0, 9.0, 1.0), "holds"),  # level for a while is no rise
        ((9.0, 5.0, 1.0), (9.0, 1.0, 5.0), "depends"),
        ((1.0, 5.0, 9.0), (9.0, 1.0, 5.0), "does not hold"),
        ((5.0, 5.0, 5.0), (9.0, 5.0, 1.0), "holds"),  # level throughout tells nothing
        ((5.0, 5.0, 5.0), (5.0, 5.0, 5.0), "undecided"),
    ],
)
def test_an_order_must_hold_in_every_memory(gru, lstm, expected):
    falls = ordered(WIDTH, training_speed, rising=False)
    found = judged(falls, in_three_seeds(speeds("gru", *gru) + speeds("lstm", *lstm)))
    assert (found.verdict, found.runs) == (expected, 18)
    assert found.measured.startswith(
        f"at 128, 256, 512: GRU, horizon 10: {gru[0]:.0f}, {gru[1]:.0f}, {gru[2]:.0f};"
    )


def test_spread_is_that_of_seeds_and_not_of_tasks():
    # Each horizon alone: 1 and 0.5 differ by 0.5, whose standard deviation is 0.5 / sqrt 2; 0 at the other.
    records = [make_record(horizon=5, seed=seed, success=value) for seed, value in enumerate((1.0, 0.5))]
    records += [make_record(horizon=20, seed=seed, success=0.25) for seed in (0, 1)]
    assert spread_over_seeds(tidy(to_frame(records))) == pytest.approx(0.5 / 2**0.5 / 2)


def solved_in(steps):
    return {"status": "solved", "steps": steps}


UNSOLVED = {"status": "unsolved", "success": 0.5}


def test_speeds_are_of_the_processor_s_time_not_of_what_else_ran():
    records = [
        make_record("gru", steps_per_second=1_000.0, seconds=8.0, cpu_seconds=2.0),
        make_record("lstm", steps_per_second=3_000.0, seconds=2.0, cpu_seconds=2.0),
    ]
    is_faster = larger("processor_speed", "gru", "lstm", "{:.0f}".format, SPEED)
    found = judged(is_faster, in_three_seeds(records))
    assert (found.verdict, found.measured) == ("holds", "GRU against LSTM, 10: 4000 against 3000")


def test_what_does_best_is_asked_task_by_task():
    records = [
        run_with(WIDTH, 128, horizon=5, **solved_in(8_000)),
        run_with(WIDTH, 256, horizon=5, **solved_in(4_000)),
        run_with(WIDTH, 512, horizon=5, **UNSOLVED),
        run_with(WIDTH, 128, horizon=20, **solved_in(8_000)),
        run_with(WIDTH, 256, horizon=20, **UNSOLVED),
        run_with(WIDTH, 512, horizon=20, **UNSOLVED),
    ]
    records = in_three_seeds(records)
    without_one = [record for record in records if record.config.memory["hidden_size"] != 512]
    assert judged(does_best(WIDTH, 256, horizons(0, 9)), without_one) is None
    assert judged(does_best(WIDTH, 256, horizons(0, 9)), records).verdict == "holds"
    assert judged(does_best(WIDTH, 256, horizons(10)), records).verdict == "does not hold"
    assert judged(does_best(WIDTH, 256, horizons()), records).verdict == "depends"
    assert judged(does_best(WIDTH, 256, horizons(30)), records) is None


@pytest.mark.parametrize("outcome", [solved_in(4_000), {"status": "diverged"}])
def test_among_equals_none_is_best(outcome):
    records = [run_with(WIDTH, width, horizon=5, **outcome) for width in (128, 256, 512)]
    found = judged(does_best(WIDTH, 128, horizons()), records)
    assert found.verdict == "undecided" and "none alone" in found.measured


def test_a_little_more_success_without_a_solved_run_decides_nothing():
    near_chance = {"status": "unsolved", "steps": 20_000}
    records = [
        make_record("gru_pmm", 50, success=0.251, **near_chance),
        make_record("gru", 50, success=0.25, **near_chance),
    ]
    assert judged(better("gru_pmm", "gru", horizons()), records).verdict == "undecided"
    assert judged(similar("gru_pmm", "gru"), records) is None
    heads = [
        run_with("agent.head", head, success=success, **near_chance)
        for head, success in (("gaussian", 0.26), ("categorical", 0.25))
    ]
    assert judged(helps("agent.head", "gaussian", "categorical"), heads).verdict == "undecided"


def test_a_bound_is_later_than_what_was_seen_and_bounds_tell_nothing_of_one_another():
    rate = "ppo.learning_rate"
    falls = ordered(rate, steps_to_solved, rising=False)
    late = [
        run_with(rate, 1e-4, status="unsolved", success=0.5, steps=10_000),
        run_with(rate, 1e-3, **solved_in(60_000)),
    ]
    assert judged(falls, in_three_seeds(late)).verdict == "holds"
    never = [run_with(rate, value, status="unsolved", success=0.5) for value in (1e-4, 1e-3)]
    assert judged(falls, in_three_seeds(never)).verdict == "undecided"


def test_a_value_whose_runs_were_all_lost_is_the_least_stable():
    rate = "ppo.learning_rate"
    records = [
        run_with(rate, value, seed=seed, **({"status": "diverged"} if value == 1e-2 else solved_in(4_000)))
        for value in (1e-4, 1e-3, 1e-2)
        for seed in range(3)
    ]
    rises = ordered(rate, instability, rising=True)
    found = judged(rises, records)
    assert found.verdict == "holds" and found.measured.endswith("0.00, 0.00, all lost")
    assert judged(rises, [record for record in records if record.seed < 2]).verdict == "undecided"


def test_a_lost_run_ran_nowhere():
    records = [make_record("gru_pmm"), make_record("mamba", status="failed", success=None)]
    lost = tidy(to_frame(records))
    shown = comparison_tables(lost)["gru_pmm_vs_mamba"].shown.set_index("Feature")
    assert shown.loc["Hardware", "Mamba: measured"] == "every run was lost"


def test_lost_runs_do_not_show_that_a_gpu_is_needed():
    (claim,) = (claim for claim in CLAIMS if "GPUs only" in claim.words)
    assert judged(claim.judge, [make_record("mamba", status="failed", success=None)]) is None
    assert judged(claim.judge, [make_record("mamba")]).verdict == "does not hold"


def test_one_memory_is_better_than_another_by_runs_solved_then_steps():
    records = [make_record("gru", 5, **solved_in(4_000)), make_record("lstm", 5, **solved_in(8_000))]
    records += [make_record("gru", 20, **UNSOLVED), make_record("lstm", 20, **solved_in(20_000))]
    records = in_three_seeds(records)
    assert judged(better("gru", "lstm", horizons(0, 19)), records).verdict == "holds"
    found = judged(better("gru", "lstm", horizons()), records)
    assert found.verdict == "depends"
    assert "20: 0/3 solved against 3/3 solved in 20,000 steps" in found.measured
    assert "mean difference in success -0.25, 95 % interval: fewer than 5 seeds" in found.measured
    assert judged(better("gru", "mamba", horizons()), records) is None


def test_differences_pair_seeds():
    # Seed 3 of the other memory is missing, and so no difference.
    ours, theirs = (1.0, 0.9, 0.9, 0.0), (0.95, 0.9, 0.85)
    records = [make_record("gru", seed=seed, success=value) for seed, value in enumerate(ours)]
    records += [make_record("lstm", seed=seed, success=value) for seed, value in enumerate(theirs)]
    found = judged(similar("gru", "lstm"), records)
    assert found.verdict == "holds" and "+0.03" in found.measured
    assert judged(similar("gru", "lstm"), [one for one in records if one.seed < 2]).verdict == "undecided"


def test_two_memories_at_chance_are_not_alike_because_a_third_one_learned():
    chance = {"status": "unsolved", "success": 0.25}
    records = [make_record("gru", **chance), make_record("lstm", **chance), make_record("mamba")]
    assert judged(similar("gru", "lstm"), records) is None
    assert judged(similar("gru", "mamba"), in_three_seeds(records)).verdict == "does not hold"


def test_what_helps_in_one_task_and_hurts_in_another_depends():
    rate = "ppo.learning_rate_schedule"
    records = [
        run_with(rate, schedule, horizon=horizon, **solved_in(steps))
        for schedule, horizon, steps in [
            ("cosine", 5, 4_000),
            ("constant", 5, 20_000),
            ("cosine", 20, 20_000),
            ("constant", 20, 4_000),
        ]
    ]
    found = judged(helps(rate, "cosine", "constant"), in_three_seeds(records))
    assert found.verdict == "depends"
    assert "GRU, horizon 5: 3/3 solved in 4,000 steps, otherwise 3/3 solved in 20,000" in found.measured


def test_what_helps_is_compared_where_both_were_run():
    rate = "ppo.learning_rate_schedule"
    records = [
        run_with(rate, "constant", **solved_in(8_000)),
        run_with(rate, "cosine", **solved_in(4_000)),
        run_with(rate, "constant", horizon=20, **solved_in(4_000)),  # without its counterpart
        run_with(rate, "cosine", "lstm", **UNSOLVED),
        run_with(rate, "constant", "lstm", **solved_in(4_000)),
    ]
    records = in_three_seeds(records)
    found = judged(helps(rate, "cosine", "constant"), records)
    assert (found.verdict, found.runs) == ("depends", 12)
    assert "GRU, horizon 10: 3/3 solved in 4,000 steps, otherwise 3/3 solved in 8,000 steps" in found.measured
    assert judged(helps(rate, "step", "constant"), records) is None


@pytest.mark.parametrize(
    ("ours", "expected"),
    [(solved_in(4_000), "holds"), (solved_in(8_000), "does not hold"), (UNSOLVED, "does not hold")],
)
def test_what_does_as_well_need_not_do_better(ours, expected):
    head = "agent.head"
    records = [run_with(head, "gaussian", **ours), run_with(head, "categorical", **solved_in(4_000))]
    found = judged(does_as_well(head, "gaussian", "categorical"), in_three_seeds(records))
    assert found.verdict == expected


def test_where_nothing_was_solved_nothing_does_as_well():
    head = "agent.head"
    records = [run_with(head, value, **UNSOLVED) for value in ("gaussian", "categorical")]
    assert judged(does_as_well(head, "gaussian", "categorical"), records).verdict == "undecided"


def test_medians_are_compared_cell_by_cell():
    records = [
        make_record(name, horizon, steps_per_second=speed)
        for name, horizon, speed in [("gru", 5, 9.0), ("lstm", 5, 8.0), ("gru", 20, 3.0), ("lstm", 20, 4.0)]
    ]
    is_faster = larger("processor_speed", "gru", "lstm", "{:.0f}".format, SPEED)
    found = judged(is_faster, in_three_seeds(records))
    assert (found.verdict, found.measured) == (
        "depends",
        "GRU against LSTM, 5: 9 against 8; 20: 3 against 4",
    )


@pytest.mark.parametrize(
    ("tolerance", "ours", "theirs", "expected"),
    [
        (SUCCESS, 1.0, 0.96, 0),
        (SUCCESS, 1.0, 0.94, 1),
        (SPEED, 109.0, 100.0, 0),
        (SPEED, 100.0, 111.0, -1),
        (EXACT, 2.0, 1.0, 1),
        (SUCCESS, math.inf, 1.0, 1),
        (SUCCESS, math.inf, math.inf, 0),
        (SUCCESS, math.nan, 1.0, 0),
        (Tolerance(0.1, 2_000), 12_288, 10_368, 0),  # one evaluation later
        (Tolerance(0.1, 2_000), 50_000, 47_000, 0),  # within a tenth
        (Tolerance(0.1, 2_000), 8_064, 4_032, 1),
    ],
)
def test_what_lies_within_a_tolerance_is_alike(tolerance, ours, theirs, expected):
    assert tolerance.order(ours, theirs) == expected
    assert tolerance.order(theirs, ours) == -expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1, 3, 0, 3), 0),  # one run
        ((3, 3, 0, 3), 1),
        ((2, 2, 0, 2), 0),  # all there are, but two
        ((3, 3, 0, 2), 0),
        ((4, 5, 5, 5), 0),
        ((3, 5, 5, 5), -1),
        ((2, 3, 4, 5), 0),
    ],
)
def test_one_run_more_tells_nothing_nor_do_two_runs_a_side(counts, expected):
    assert order_of_counts(*counts) == expected


def test_the_seeds_have_to_bear_a_difference_out():
    assert borne_out(1, [5, 6, 7, 8, 9], [1, 2, 3, 4, 4]) == 1
    assert borne_out(-1, [1, 2, 3, 4, 4], [5, 6, 7, 8, 9]) == -1
    assert borne_out(1, [5, 6, 7, 1, 2], [3, 4, 5, 6, 0]) == 0
    # Of fewer there is no interval: none may contradict.
    assert borne_out(1, [5, 6, 7, 1], [3, 4, 5, 6]) == borne_out(-1, [3, 4, 5, 6], [5, 6, 7, 1]) == 0
    assert borne_out(1, [6, 7, 8], [3, 4, 6]) == 1
    assert borne_out(-1, [3, 4, 6], [6, 7, 8]) == -1
    # Two a side are set apart by chance alone in a third of cases.
    assert borne_out(1, [6, 7], [3, 4, 5]) == borne_out(-1, [3, 4, 5], [6, 7]) == 0
    assert borne_out(1, [2] * 5, [1] * 5) == 1


def test_steps_one_evaluation_apart_decide_nothing():
    def found(ours, theirs):
        records = [make_record("gru", **solved_in(ours)), make_record("lstm", **solved_in(theirs))]
        return judged(better("gru", "lstm", horizons()), in_three_seeds(records)).verdict

    assert found(4_032, 4_033) == found(10_368, 12_288) == "undecided"
    assert (found(4_032, 8_064), found(8_064, 4_032)) == ("holds", "does not hold")


@pytest.mark.parametrize("words", ["persists until overwritten", "holds over the longest", "MAML"])
def test_two_seeds_do_not_show_what_every_seed_must(words):
    (claim,) = (claim for claim in CLAIMS if words in claim.words)

    def found(num_seeds):
        records = [
            make_record("gru_pmm", 20, seed, success_at={20: 1.0, 1_000: 1.0}) for seed in range(num_seeds)
        ]
        if words == "MAML":
            learners = (msgspec.structs.replace(record.config, objective="maml") for record in records)
            pairs = zip(records, learners, strict=True)
            records = [msgspec.structs.replace(record, config=config) for record, config in pairs]
        return judged(claim.judge, records).verdict

    assert [found(1), found(2), found(3)] == ["undecided", "undecided", "holds"]


def test_two_runs_a_side_decide_nothing_about_learning():
    def found(num_seeds):
        sides = (("gru", solved_in(4_000)), ("lstm", UNSOLVED))
        records = [make_record(name, seed=seed, **run) for name, run in sides for seed in range(num_seeds)]
        return judged(better("gru", "lstm", horizons()), records).verdict

    assert [found(1), found(2), found(3)] == ["undecided", "undecided", "holds"]


def test_seeds_that_contradict_a_median_leave_a_comparison_undecided():
    def found(ours, theirs):
        both = (("gru", ours), ("lstm", theirs))
        records = [
            make_record(name, seed=seed, **(solved_in(steps) if steps else UNSOLVED))
            for name, side in both
            for seed, steps in enumerate(side)
        ]
        return judged(better("gru", "lstm", horizons()), records).verdict

    assert found([4_000] * 4 + [6_000], [12_000] * 5) == "holds"
    assert found([4_000, 4_000, 4_000, 40_000, 40_000], [8_000, 8_000, 8_000, 2_000, 2_000]) == "undecided"
    assert found([4_000] * 5, [4_000] * 4 + [None]) == "undecided"  # one run more is solved
    assert found([4_000] * 5, [None] * 5) == "holds"


def test_speeds_within_a_tenth_decide_nothing():
    records = [make_record("gru", steps_per_second=10.5), make_record("lstm", steps_per_second=10.0)]
    is_faster = larger("processor_speed", "gru", "lstm", "{:.0f}".format, SPEED)
    assert judged(is_faster, records).verdict == "undecided"
    five = [
        make_record(name, seed=seed, steps_per_second=speed)
        for name, speeds in (("gru", [9, 9, 9, 1, 1]), ("lstm", [5, 5, 5, 8, 8]))
        for seed, speed in enumerate(speeds)
    ]
    assert judged(is_faster, five).verdict == "undecided"


def test_a_spread_that_falls_by_less_than_the_tolerance_does_not_turn_back():
    spreads = {1: (1.0,) * 5, 2: (1.0, 0.9, 0.8, 0.7, 0.6), 3: (1.0, 0.9, 0.8, 0.7, 0.62)}
    records = [
        run_with("memory.num_layers", layers, seed=seed, success=success)
        for layers, pair in spreads.items()
        for seed, success in enumerate(pair)
    ]
    rises = ordered("memory.num_layers", instability, rising=True)
    assert judged(rises, records).verdict == "holds"
    assert judged(rises, [record for record in records if record.seed < 4]).verdict == "undecided"


def test_steps_that_add_up_to_a_difference_are_one():
    falls = ordered(WIDTH, training_speed, rising=False)
    found = judged(falls, in_three_seeds(speeds("gru", 100.0, 92.0, 85.0)))
    assert found.verdict == "holds"


@pytest.mark.parametrize(
    ("at_longest", "expected"), [(0.999, "undecided"), (0.9, "holds"), (1.0, "undecided")]
)
def test_a_memory_degrades_if_its_success_falls_by_more_than_the_tolerance(at_longest, expected):
    (claim,) = (claim for claim in CLAIMS if "degrades" in claim.words)
    records = [make_record("gru", 5), make_record("gru", 100, success=at_longest)]
    assert judged(claim.judge, in_three_seeds(records)).verdict == expected
    assert judged(claim.judge, records).verdict == "undecided"  # one seed


def test_a_value_that_another_beats_is_not_the_best_even_if_none_is():
    records = [
        run_with(WIDTH, width, horizon=5, **solved_in(steps))
        for width, steps in ((128, 20_000), (256, 4_000), (512, 4_000))
    ]
    records = in_three_seeds(records)
    assert judged(does_best(WIDTH, 128, horizons()), records).verdict == "does not hold"
    assert judged(does_best(WIDTH, 256, horizons()), records).verdict == "undecided"


def test_parameters_are_counted_by_part():
    records = [make_record("gru_pmm", parameters={"pmm": 205_568, "total": 935_689})]
    assert judged(has_parameters("gru_pmm", "pmm", 2e5, 3e5), records).verdict == "holds"
    found = judged(has_parameters("gru_pmm", "pmm", 1.15e6, 1.25e6), records)
    assert (found.measured, found.verdict) == ("205,568", "does not hold")
    assert judged(has_parameters("gru_pmm", "encoder", 0, 1), records) is None


def test_there_are_many_claims_and_each_rests_on_a_suite_and_memories_that_there_are():
    assert len(CLAIMS) >= 25 and len({claim.words for claim in CLAIMS}) == len(CLAIMS)
    assert {claim.suite for claim in CLAIMS} - {DOCUMENT_SIZES} <= set(list_suites())


@pytest.mark.parametrize("profile", ["quick", "standard", "full"])
def test_a_profile_has_runs_for_the_claims_on_its_settings(profile):
    """Every claim of a suite of one's own finds what it compares, but for horizons that the profile lacks."""
    for claim in CLAIMS:
        if claim.suite in (DOCUMENT_SIZES, "horizons"):
            continue
        found = _judged_on_equal_runs(claim, profile)
        is_far = "> 30" in claim.words
        assert found is not None or (is_far and profile != "full"), claim.words


def _judged_on_equal_runs(claim, profile):
    suite = load_suite(claim.suite)
    profiles = {profile: msgspec.structs.replace(suite.profiles[profile], match_parameters=None)}
    suite = msgspec.structs.replace(suite, match_parameters=None, profiles=profiles)
    records = []
    for config in plan_runs(suite, profile, num_seeds=1):
        record = make_record(
            config.architecture,
            config.task.horizon,
            success_at=dict.fromkeys(config.evaluation.horizons, 1.0),
            cue_gradient_before=CueGradient(norm=0.1, share=0.5),
        )
        task = config.task.name
        records.append(msgspec.structs.replace(record, run_id=config.run_id, config=config, task=task))
    return judged(claim.judge, records)


def test_without_runs_nothing_is_measured():
    table = claims_table({})
    assert set(table.values.verdict) == {"not measured"} and (table.values.runs == 0).all()


def results_of(folder, suite, records, preset=None):
    make_results_folder(folder)
    for record in records:
        write_record(folder, record)
    configs = [record.config for record in records]
    write_plan(
        folder,
        Plan(suite=suite, profile="quick", question="?", command="membench", preset=preset, configs=configs),
    )


def test_the_command_reads_a_folder_per_suite_or_one_alone(membench, tmp_path):
    results_of(tmp_path / "a", "horizons", [make_record("mamba", 5)])
    sized = make_record("gru_pmm", parameters={"pmm": 205_568})
    results_of(tmp_path / "b", "horizons", [sized], preset="doc")
    pack_records(tmp_path / "b")
    code, out, _ = membench("claims", tmp_path, "--json")
    rows = {row["claim"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["Mamba runs on GPUs only"]["measured"] == "1 of 1 runs on a CPU"
    assert rows["Mamba runs on GPUs only"]["verdict"] == "does not hold"
    assert rows["Predictive Memory Module: ~1.2M parameters"]["measured"] == "205,568"
    with (tmp_path / "claims.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(CLAIMS)
    code, out, _ = membench("claims", tmp_path / "a")
    assert code == 0 and "does not hold" in out and (tmp_path / "a" / "claims.md").exists()


def test_what_is_no_evidence_is_named(membench, tmp_path):
    results_of(tmp_path / "a", "horizons", [make_record("mamba", 5)])
    (tmp_path / "a" / "runs" / "broken.json").write_text("{")
    (tmp_path / "a" / "runs" / "folder.json").mkdir()
    plan = read_plan(tmp_path / "a")
    changed = msgspec.structs.replace(plan, suite="heads", overrides={"total_timesteps": 100})
    results_of(tmp_path / "b", "heads", [make_record("gru", 5)])
    write_plan(tmp_path / "b", changed)
    lacking = msgspec.structs.replace(plan, configs=[*plan.configs, make_record("gru", 5).config])
    write_plan(tmp_path / "a", lacking)
    code, _, err = membench("claims", tmp_path)
    assert code == 0
    assert "broken.json" in err and "folder.json" in err and "1 of 2 planned runs is missing" in err
    assert f"{tmp_path / 'b'}: left out" in err


def test_what_was_left_out_is_the_reason_why_nothing_was_found(membench, tmp_path):
    results_of(tmp_path, "horizons", [make_record("gru", 5)])
    plan = read_plan(tmp_path)
    write_plan(tmp_path, msgspec.structs.replace(plan, overrides={"total_timesteps": 100}))
    for number in range(9):
        (tmp_path / "runs" / f"broken{number}.json").write_text("{")
    code, _, err = membench("claims", tmp_path)
    assert code == 2 and "no results folder of a suite is in there (" in err
    assert "broken2.json" in err and "broken3.json" not in err and err.endswith("7 more)\n")
    for path in tmp_path.glob("runs/broken*"):
        path.unlink()
    _, _, err = membench("claims", tmp_path)
    assert err.endswith("its runs are not those of a suite as it stands)\n")


def test_results_folders_one_level_deeper_are_pointed_at(membench, tmp_path):
    results_of(tmp_path / "reference" / "horizons", "horizons", [make_record("gru", 5)])
    code, _, err = membench("claims", tmp_path)
    assert code == 2 and err.endswith(f"is in there; did you mean {tmp_path / 'reference'}?\n")


def test_a_folder_without_results_or_with_a_suite_twice_is_refused(membench, tmp_path):
    code, _, err = membench("claims", tmp_path)
    assert code == 2 and str(tmp_path) in err
    for name in ("a", "b"):
        results_of(tmp_path / name, "horizons", [make_record("gru", 5)])
    code, _, err = membench("claims", tmp_path)
    assert code == 2 and "'horizons'" in err and str(tmp_path / "b") in err
