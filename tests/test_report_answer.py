"""The answer in words: worked by hand, and never more than the records hold."""

import msgspec
import pytest
from test_report import MANY, capacity_record, climb, make_record

from membench.frame import to_frame
from membench.records import RunRecord
from membench.report.answer import answer
from membench.report.frame import tidy
from membench.report.looks import display_name


def say(records: list[RunRecord], num_missing: int = 0) -> list[str]:
    return answer(tidy(to_frame(records)), num_missing=num_missing)


def seeds(architecture: str, horizon: int, statuses: str) -> list[RunRecord]:
    """A run per letter: solved, unsolved, diverged or failed."""
    names = {"s": "solved", "u": "unsolved", "d": "diverged", "f": "failed"}
    return [
        make_record(architecture, horizon, seed, status=names[letter]) for seed, letter in enumerate(statuses)
    ]


@pytest.mark.parametrize(
    ("statuses", "sentence"),
    [
        ("sss", "At horizon 10, GRU solves it in all 3 seeds."),
        ("ss", "At horizon 10, GRU solves it in both seeds."),
        ("s", "At horizon 10, GRU solves it in the 1 seed tried."),
        ("usu", "At horizon 10, GRU solves it in 1 of 3 seeds."),
        ("uuu", "At horizon 10, GRU solves it in none of 3 seeds."),
        ("u", "At horizon 10, GRU does not solve it in the 1 seed tried."),
    ],
)
def test_one_memory(statuses, sentence):
    assert say(seeds("gru", 10, statuses)) == [sentence]


def test_memories_that_did_alike_share_a_clause_and_the_best_come_first():
    records = [
        *seeds("gru", 100, "uuu"),
        *seeds("gru_pmm", 100, "sus"),
        *seeds("lstm", 100, "sss"),
        *seeds("mamba", 100, "sss"),
        *seeds("rnn", 100, "s"),
        *seeds("lru", 100, "u"),
    ]
    assert say(records) == [
        "At horizon 100, LSTM and Mamba solve it in all 3 seeds; RNN in the 1 seed tried; GRU+PMM in 2 of 3 "
        "seeds; GRU in none of 3 seeds; LRU not in the 1 seed tried."
    ]


def test_none_solved_by_anyone():
    records = [*seeds("gru", 10, "uu"), *seeds("lstm", 10, "uu")]
    assert say(records) == ["At horizon 10, GRU and LSTM solve it in none of 2 seeds."]
    records = [*seeds("gru", 10, "u"), *seeds("lstm", 10, "u")]
    assert say(records) == ["At horizon 10, GRU and LSTM do not solve it in the 1 seed tried."]


def test_every_cell_has_a_sentence_about_those_that_ran_in_it():
    records = [*seeds("gru", 5, "ss"), *seeds("gru", 20, "su"), *seeds("lstm", 20, "ss")]
    assert say(records) == [
        "At horizon 5, GRU solves it in both seeds.",
        "At horizon 20, LSTM solves it in both seeds; GRU in 1 of 2 seeds.",
    ]


def test_neighbouring_cells_of_which_the_same_is_to_be_said_share_a_sentence():
    solved = [record for horizon in (5, 10, 20) for record in seeds("gru", horizon, "ss")]
    assert say(solved) == ["At each of the horizons 5, 10 and 20, GRU solves it in both seeds."]
    assert say([*solved, *seeds("gru", 15, "su")]) == [
        "At each of the horizons 5 and 10, GRU solves it in both seeds.",
        "At horizon 15, GRU solves it in 1 of 2 seeds.",
        "At horizon 20, GRU solves it in both seeds.",
    ]
    assert say([capacity_record("gru", 5, items, 1.0) for items in (1, 4)]) == [
        "On each of the tasks “1 item” and “4 items”, GRU solves it in the 1 seed tried."
    ]


def test_runs_that_lost_the_task_again_are_told():
    ends = {"gru": (1.0, 1.0, 1.0), "lstm": (1.0, 0.52, 1.0), "mamba": (0.75, 1.0, 0.774)}
    records = [
        make_record(name, 5, seed, success=success)
        for name, all_ in ends.items()
        for seed, success in enumerate(all_)
    ]
    assert say(records) == [
        "At horizon 5, GRU solves it in all 3 seeds; LSTM in all 3 seeds, 1 of which had fallen below the "
        "mark again by the end (0.52); Mamba in all 3 seeds, 2 of which had fallen below the mark again by "
        "the end (0.75 to 0.77)."
    ]
    assert say([make_record(success=0.9), make_record(horizon=20, status="unsolved", success=0.2)]) == [
        "At horizon 10, GRU solves it in the 1 seed tried, which had fallen below the mark again by the end "
        "(0.90).",
        "At horizon 20, GRU does not solve it in the 1 seed tried.",
    ]
    many = [make_record(name, horizon) for name in ("gru", "lstm") for horizon in range(1, 8)]
    many += [make_record("lstm", horizon, 1, success=horizon / 10) for horizon in (1, 7)]
    assert say(many)[1:] == [
        "Of 16 runs called solved, 2 had fallen below the mark again by the end: LSTM 2 (0.10 to 0.70)."
    ]


def test_the_longest_horizon_that_was_tested_untrained_comes_first():
    tested = {"gru": (0.5, 0.3), "gru_pmm": (1.0, 1.0), "lstm": (1.0, 1.0)}
    records = [
        make_record(name, 20, seed, success_at={20: 1.0, 1000: value})
        for name, values in tested.items()
        for seed, value in enumerate(values)
    ]
    assert say(records) == [
        "Trained at horizon 20, mean success at horizon 1,000, without training there, is 1.00 for GRU+PMM "
        "and LSTM; 0.40 for GRU.",
        "At horizon 20, GRU, GRU+PMM and LSTM solve it in both seeds.",
    ]
    assert len(say([make_record(success_at={5: 1.0, 10: 1.0})])) == 1  # none beyond the trained one
    many = [make_record(name, 20, success_at={50: 0.9 - n / 10}) for n, name in enumerate(MANY[:9])]
    many.append(make_record(MANY[9], 20, success_at={50: 0.05}))
    assert say(many)[0].endswith(
        "; 0.20 for " + display_name(MANY[7]) + "; 0.10 or less for the other 2 memories."
    )


def test_lost_and_missing_runs_are_told():
    assert say([*seeds("gru", 10, "sdd"), *seeds("lstm", 10, "f")], num_missing=2) == [
        "At horizon 10, GRU solves it in 1 of 3 seeds; LSTM not in the 1 seed tried.",
        "Of 4 runs, 2 diverged and 1 failed: counted as not solved.",
        "Of 6 planned runs, 2 have no record: not counted.",
    ]
    assert say(seeds("gru", 10, "s"), num_missing=1)[-1] == "Of 2 planned runs, 1 has no record: not counted."
    first, *others = say([], num_missing=3)
    assert "no record of any run" in first
    assert others == ["Of 3 planned runs, 3 have no record: not counted."]


def test_runs_that_share_a_seed_are_not_called_seeds():
    twice = [make_record(run_id="one"), make_record(run_id="two"), make_record(seed=1)]
    assert say(twice) == ["At horizon 10, GRU solves it in all 3 runs."]


def test_of_many_memories_those_alike_are_counted():
    records = [make_record(name, 5, seed) for name in MANY for seed in range(3)]
    assert say(records) == ["At horizon 5, all of the 10 memories solve it in all 3 seeds."]
    records[0] = make_record(MANY[0], 5, 0, status="unsolved")
    assert say(records) == [
        "At horizon 5, 9 of the 10 memories solve it in all 3 seeds; GRU in 2 of 3 seeds."
    ]


def test_of_many_cells_those_solved_in_every_seed_are_counted():
    cells = [(horizon, items) for horizon in (5, 10, 20, 40) for items in (1, 2)]
    records = [capacity_record("gru", *cell, 1.0) for cell in cells[:7]]
    records += [capacity_record("lstm", *cell, 1.0, seed) for cell in cells for seed in (0, 1)]
    half_solved = [capacity_record("mamba", *cell, 1.0, seed) for cell in cells for seed in (0, 1)]
    records += [
        msgspec.structs.replace(run, status="unsolved" if run.seed else "solved") for run in half_solved
    ]
    assert say(records) == [
        "Tasks solved in every seed (1 to 2 seeds per task): LSTM 8 of 8; GRU 7 of 7; Mamba 0 of 8."
    ]


def test_of_many_cells_and_memories_only_the_best_are_named():
    records = [make_record(name, horizon) for name in MANY for horizon in range(2, 9)]
    records += [make_record(name, 9, status="unsolved") for name in MANY[:2]]
    (sentence,) = say(records)
    assert sentence.startswith(
        "Horizons solved in every seed (1 seed per horizon): GRU 7 of 8; GRU+PMM 7 of 8; "
    )
    assert sentence.endswith("; each of the other 2 memories 7 or fewer.")
    assert sentence.count(" of ") == 9


def test_ladders_say_how_far_each_memory_climbed():
    frontiers = {"gru": (64, 1024, 256), "lstm": (128, 128), "mamba": (0, 0, 0), "transformer": (2048,)}
    records = [climb(name, seed, far) for name, all_ in frontiers.items() for seed, far in enumerate(all_)]
    records += [climb("rnn", 0, 0), climb("rnn", 1, 64, status="diverged")]
    assert say(records) == [
        "The longest horizon solved by climbing: Transformer 2,048 (1 seed); GRU 256 (median of 3 seeds, 64 "
        "to 1,024); LSTM 128 (both seeds); Mamba none (all 3 seeds); RNN none (lower median of 2 seeds, none "
        "to 64).",
        "Of 11 runs, 1 diverged: counted with the horizons that they had solved.",
    ]


def test_ladders_that_the_budget_ended_are_told():
    budgets = {"total_timesteps": 1_792}
    records = [climb("gru", 0, 16, **budgets), climb("gru", 1, 8, **budgets), climb("gru", 2, 16, **budgets)]
    assert say(records) == [
        "The longest horizon solved by climbing: GRU 16 (median of 3 seeds, 8 to 16). 2 of 3 got as far as "
        "the budget has room for (16)."
    ]


def test_of_many_ladders_only_the_longest_are_named():
    records = [climb(name, 0, 8 * 2**place) for place, name in enumerate(MANY)]
    (sentence,) = say(records)
    assert sentence.count("1 seed") == 8
    assert sentence.endswith("; the medians of the other 2 memories are 16 or less.")
