"""Two memories side by side: a cell is measured, stated with its source, or says what would measure it."""

import json
import re
from io import BytesIO, TextIOWrapper
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from test_bench import make_cost
from test_report import climb, make_record

from architectures import ARCHITECTURES
from membench.bench import Measurements
from membench.cli import main
from membench.folders import make_results_folder
from membench.plan import Plan, write_plan
from membench.records import pack_records, write_record
from membench.report.comparisons import document_words
from membench.report.costs import write_measurements
from membench.report.facts import FACTS
from membench.report.pairs import ROWS

PAIR = ("gru_pmm", "transformer")


def write_results(results, suite, records, preset=None):
    make_results_folder(results)
    for record in records:
        write_record(results, record)
    plan = Plan(
        suite=suite,
        profile="quick",
        question="?",
        command="membench run",
        preset=preset,
        configs=[record.config for record in records],
    )
    write_plan(results, plan)
    return results


def write_costs(folder, costs):
    folder.mkdir(parents=True, exist_ok=True)
    write_measurements(folder, Measurements(costs=costs, machine={}, versions={}))
    return folder / "costs.json"


@pytest.fixture
def results(tmp_path) -> Path:
    runs = []
    for horizon in (5, 20):
        for seed in range(5):
            runs.append(make_record("gru_pmm", horizon, seed, success=0.5 + 0.1 * seed, steps=10_000))
            runs.append(
                make_record("transformer", horizon, seed, success=0.4, status="unsolved", state_bytes=99)
            )
    runs.append(make_record("gru_pmm", 50, 0))
    write_results(tmp_path / "horizons", "horizons", runs)
    sizes = [make_record("gru_pmm", parameters={"total": 935_689})]
    write_results(tmp_path / "sizes", "horizons", sizes, preset="doc")
    write_results(tmp_path / "frontier", "frontier", [climb("gru_pmm", s, 64 * 2**s) for s in range(3)])
    seconds = {16: 0.1, 64: 0.1, 256: 0.1}
    costs = [make_cost("gru_pmm", horizon, [second]) for horizon, second in seconds.items()]
    costs += [make_cost("transformer", horizon, [0.1 * horizon / 16]) for horizon in seconds]
    write_costs(tmp_path / "bench", costs)
    return tmp_path


def compared(membench, results, *arguments, pair=PAIR):
    code, out, err = membench("compare", *pair, "--results", results, "--json", *arguments)
    assert code == 0, err
    return {(row["feature"], row["architecture"]): row for row in json.loads(out)}


def shown_table(results):
    return (results / "compare" / "gru_pmm_vs_transformer.md").read_text().replace("\\", "")


def test_every_number_comes_from_runs_or_measurements_of_cost(membench, results):
    found = compared(membench, results)

    def value(feature, architecture):
        return found[feature, architecture]["value"]

    # At the longest horizon that both have, which is 20: (0.5 + 0.6 + 0.7 + 0.8 + 0.9) / 5.
    long = found["Long sequences", "gru_pmm"]
    assert long["value"] == pytest.approx(0.7) and long["low"] < 0.7 < long["high"]
    assert long["told"].startswith("5/5 solved, success 0.70 (") and "at horizon 20" in long["told"]
    assert found["Long sequences", "transformer"]["told"] == (
        "0/5 solved, success 0.40 (all seeds equal) at horizon 20"
    )
    more_right = "Probability of ending with more right answers (ties count half)"
    assert value(more_right, "gru_pmm") == 1 and value(more_right, "transformer") == 0
    assert value("Longest horizon climbed to", "gru_pmm") == 128
    assert value("Parameters, the document's sizes", "gru_pmm") == 935_689
    assert value("State per environment", "transformer") == 99
    assert value("Training speed", "gru_pmm") == 1234.0
    # Time per step level: linear in the horizon. In proportion to it: quadratic.
    time = "Training time over horizon n"
    assert value(time, "gru_pmm") == pytest.approx(1) and value(time, "transformer") == pytest.approx(2)
    assert found[time, "transformer"]["document"] == "O(n²)"
    assert str(results / "bench" / "costs.json") in found[time, "gru_pmm"]["basis"]
    assert found["Training speed", "transformer"]["document"] == "Slow"


def test_what_was_not_measured_says_by_which_command_it_would_be(membench, results, tmp_path):
    found = compared(membench, results)
    frontier = found["Longest horizon climbed to", "transformer"]
    assert (frontier["kind"], frontier["told"], frontier["value"]) == ("not measured", "not measured", None)
    shown = shown_table(results)
    own_plan = "membench run --suite frontier --profile quick"  # of the runs of the other memory there
    assert f"{own_plan} --architectures transformer --out {results}/frontier" in shown
    assert "--suite horizons --profile quick --preset doc --architectures transformer" in shown
    empty = tmp_path / "empty"
    empty.mkdir()
    for row in compared(membench, empty).values():
        assert row["kind"] in ("stated", "not measured")
    shown = shown_table(empty)
    assert f"membench bench --architectures gru_pmm,transformer --out {empty}/bench" in shown


def test_where_neither_memory_ran_is_said(membench, results, tmp_path):
    none_ran = f"--results '{tmp_path}': no runs of gru or lstm are in there"
    _, _, err = membench("compare", "gru", "lstm", "--results", tmp_path)
    assert err.startswith(none_ran)
    _, _, err = membench("compare", "gru_pmm", "lstm", "--results", tmp_path)
    assert "no runs of" not in err
    (above := tmp_path / "above").mkdir()
    (above / "reference").symlink_to(results)
    _, _, err = membench("compare", *PAIR, "--results", above)
    assert f"did you mean {above / 'reference'}?" in err


def test_the_commands_that_it_names_are_commands(membench, tmp_path):
    """Each is parsed, with its folder taken, so that nothing is trained."""
    compared(membench, tmp_path)
    shown = shown_table(tmp_path)
    commands = set(re.findall(r"membench ((?:run|bench) .*?--out) ", shown))
    assert len(commands) == 4
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for command in commands:
        code, _, err = membench(*command.split(), taken)
        assert code == 2 and str(taken) in err, command


def test_a_file_of_records_is_read_like_its_folder(membench, results):
    packed = pack_records(results / "horizons")
    told = {row["told"] for row in compared(membench, packed, "--out", results / "other").values()}
    assert any("at horizon 20" in one for one in told)


def test_facts_are_marked_as_stated_and_every_built_in_memory_has_some(membench, results):
    assert FACTS.keys() == ARCHITECTURES.keys()
    found = compared(membench, results, pair=("gru", "lstm"))
    gates = found["Gates", "gru"]
    assert gates["told"] == "2 (reset, update) (stated)" and gates["kind"] == "stated"
    assert gates["document"] == "2 (reset, update)"
    own = compared(membench, results, pair=("gru", "my_module:Memory"))
    assert own["Gates", "my_module:Memory"]["told"] == "not stated"


def test_the_document_s_words_stand_beside_the_memory_that_they_are_about():
    assert document_words("gru_pmm", "transformer", "Complexity") == ("O(n)", "O(n²)")
    assert document_words("transformer", "gru_pmm", "Complexity") == ("O(n²)", "O(n)")
    assert document_words("gru", "transformer", "Complexity") is None
    names = {name for row in ROWS for name in row.in_document}
    assert names == {"Architecture", "Memory", "Gates", "Complexity", "Long sequences", "Performance"} | {
        *("Training speed", "Speed", "Parameters", "Hardware", "Maturity")
    }


def test_the_table_is_written_as_every_other_is(membench, results):
    code, out, _ = membench("compare", *PAIR, "--results", results)
    assert code == 0 and "Training speed" in out
    folder = results / "compare"
    assert {path.name for path in folder.iterdir()} == {
        f"gru_pmm_vs_transformer.{kind}" for kind in ("csv", "md", "tex")
    }
    assert len(pd.read_csv(folder / "gru_pmm_vs_transformer.csv")) == 2 * len(ROWS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gru_pm", "lstm"], "'gru_pm': unknown; did you mean 'gru_pmm'?"),
        (["lstm", "lstm"], "compare lstm lstm: the same memory twice; name two"),
        (["gru", "lstm", "--results", "nowhere"], "nowhere"),
        (["gru", "lstm", "--bench", "horizons"], "no costs.json is in there"),
    ],
)
def test_mistakes_are_answered(arguments, message, membench, results, monkeypatch):
    monkeypatch.chdir(results)
    code, _, err = membench("compare", *arguments[:2], "--results", ".", *arguments[2:])
    assert code == 2 and message in err and err.count("\n") <= 3


def test_a_link_does_not_lead_out_of_the_folder(membench, results, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (results / "compare").symlink_to(tmp_path / "elsewhere")
    code, _, err = membench("compare", *PAIR, "--results", results)
    assert code == 2 and "symbolic link" in err and not list((tmp_path / "elsewhere").iterdir())


def test_two_measurements_are_one_too_many(membench, results):
    write_costs(results / "earlier", [make_cost("gru", 16, [0.1])])
    code, _, err = membench("compare", *PAIR, "--results", results)
    assert code == 2 and "holds measurements twice" in err and "--bench" in err
    found = compared(membench, results, "--bench", results / "bench")
    assert found["Training time over horizon n", "gru_pmm"]["value"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seconds", [0.0], "seconds.0: Expected `float` > 0.0 (got 0.0)"),
        ("seconds", [], "seconds: Expected `array` of length >= 1"),
        ("memory_bytes", -1, "memory_bytes: Expected `int` >= 0 (got -1)"),
        ("num_steps", 0, "num_steps: Expected `int` >= 1 (got 0)"),
        ("horizon", 0, "config.task.horizon: 0 must be at least 1"),
    ],
)
def test_measurements_from_strangers_are_checked(path, value, message, membench, results):
    file = results / "bench" / "costs.json"
    content = json.loads(file.read_text())
    cost = content["costs"][0]
    (cost["config"]["task"] if path == "horizon" else cost)[path] = value
    file.write_text(json.dumps(content))
    code, _, err = membench("compare", *PAIR, "--results", results)
    assert code == 2 and str(file) in err and f"costs.0.{message}" in err


def test_a_terminal_that_takes_ascii_alone_gets_what_it_can_show(results, monkeypatch):
    terminal = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    with pytest.raises(SystemExit) as exit_:
        main(["compare", *PAIR, "--results", str(results)])
    terminal.flush()
    shown = terminal.buffer.getvalue()
    assert not exit_.value.code and b"Feature" not in shown and b"GRU+PMM" in shown and b"?" in shown


def test_costs_too_small_to_be_seen_have_no_exponent(membench, results):
    costs = [make_cost("gru", horizon, [0.1]) for horizon in (16, 64, 256)]
    write_costs(results / "bench", [msgspec.structs.replace(cost, memory_bytes=0) for cost in costs])
    found = compared(membench, results, pair=("gru", "lstm"))
    assert found["Training memory over horizon n", "gru"]["kind"] == "not measured"
    assert found["Training time over horizon n", "gru"]["value"] == pytest.approx(1)
