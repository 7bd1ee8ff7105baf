"""The command line as a user meets it."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import msgspec
import plotless
import pytest
from rich.console import Console
from test_report import make_record

from membench import logs, tuning
from membench.display import SuiteDisplay
from membench.execute import Standing
from membench.plan import Plan, write_plan
from membench.records import MEASURED_ON_THE_MACHINE, describe_outcome, read_records, write_record
from membench.suite import list_suites, load_suite
from membench.train import failed_record

TINY_SUITE = """
question = "Does it run?"
architectures = ["gru", "lstm"]

[settings]
ppo.num_envs = 8
evaluation = { interval = 100, num_episodes = 16, num_final_episodes = 20 }

[memory]
gru = { hidden_size = 8, num_layers = 1 }
lstm = { hidden_size = 8, num_layers = 1 }

[profiles.quick]
seeds = 2

[[profiles.quick.cells]]
task.horizon = 1
total_timesteps = 200

[[profiles.quick.cells]]
task.horizon = 2
total_timesteps = 200
"""

pytestmark = pytest.mark.plots(drawn=False)

ELSEWHERE = ["--suite", "horizons", "--device", "cuda:999"]
"""What cannot be run here, whatever other mistake is not seen."""

TRAIN = ["train", "--architecture", "gru", "--horizon", "2", "--total-timesteps", "500", "--set"]
TRAIN += ["memory.hidden_size=8"]


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_SUITE)
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--suite", "horizonz"], "--suite 'horizonz': unknown; did you mean 'horizons'?"),
        (
            ["run", "--suite", "horizons", "--architectures", "grru"],
            "architecture 'grru': unknown; did you mean",
        ),
        (["run", "--suite", "horizons", "--seeds", "0"], "'--seeds': 0 is not in the range x>=1"),
        (
            ["run", "--suite", "horizons", "--profile", "quik"],
            "--profile 'quik': unknown; did you mean 'quick'?",
        ),
        (["run", "--suite", "horizons", "--preset", "dok"], "--preset 'dok': unknown; did you mean 'doc'?"),
        (["run", "--suite", "horizons", "--out", "/dev/null/x"], "--out '/dev/null/x': cannot write there"),
        (["run", "--suite", "horizons", "--set", "ppo.lr=1"], "--set: key in ppo 'lr': unknown"),
        (["run", "--suite", "horizons", "--set", "ppo.learning_rate"], "must be FIELD=VALUE"),
        (["run", "--suite", "horizons", "--set", "memory.hiden_size=1"], "did you mean 'hidden_size'?"),
        (
            ["run", "--suite", "horizons", "--device", "cuda:99"],
            "device 'cuda:99': no such device here (legal: cpu",
        ),
        (
            ["run", "--suite", "horizons", "--device", "gpu", "--set", "ppo.gamma=0.9"],
            "--device: device: must be cpu, cuda, or cuda:N as in cuda:0 (got 'gpu')\n",
        ),
        (
            ["run", "--suite", "horizons", "--device", "cpu", "--set", "device=gpu"],
            "--set device: is decided by --device here",
        ),
        (["run"], "Missing option '--suite'"),
        (["train", "--architecture", "gru", "--horizon", "-3"], "'--horizon': -3 is not in the range x>=0"),
        (
            ["train", "--architecture", "gru", "--set", "task.min_horizon=-3"],
            "task.min_horizon: Expected `int`",
        ),
        *(
            (["train", "--architecture", "gru", *options], "Expected `int` <= 1000000000 (got 1000000001)")
            for options in (
                ["--horizon", str(10**9 + 1)],
                ["--set", f"task.reward_delay={10**9 + 1}"],
                ["--curriculum", f"{10**9 + 1}:9"],
            )
        ),
        (["train", "--architecture", "gru", "--set", "ppo.discount=nan"], "finite"),
        (["train", "--architecture", "gru", "--curriculum", "5:20k"], "must be HORIZON:STEPS,..."),
        (["train", "--architecture", "gru", "--curriculum", "5:0"], "--curriculum: curriculum.0.timesteps"),
        (
            ["train", "--architecture", "gru", "--set", "task.min_horizon=30", "--horizon", "20"],
            "task.min_horizon 30: must be at most task.horizon, 20",
        ),
        (
            ["train", "--architecture", "gru", "--set", "task.min_horizon=8", "--curriculum", "5:9,10:9"],
            "task.min_horizon 8: must be at most task.horizon, 5",
        ),
        (
            [
                "train",
                "--architecture",
                "gru",
                "--curriculum",
                "5:9,6:9",
                "--set",
                "ladder=true",
            ],
            "curriculum and ladder: must not both be set",
        ),
        (
            ["train", "--architecture", "gru", "--curriculum", "5:9,6:9", "--horizon", "6"],
            "--horizon: is decided by --curriculum",
        ),
        (
            ["train", "--architecture", "gru", "--curriculum", "5:9", "--total-timesteps", "9"],
            "--total-timesteps: is decided by --curriculum",
        ),
        *(
            (
                ["train", "--architecture", "gru", "--set", f"{field}=2"],
                f"--set {field}: is decided by {option}",
            )
            for field, option in (
                ("architecture", "--architecture"),
                ("task.horizon", "--horizon"),
                ("seed", "--seed"),
                ("total_timesteps", "--total-timesteps"),
                ("device", "--device"),
                ("curriculum", "--curriculum"),
                ("matched_parameters", "--match-parameters"),
            )
        ),
        (
            ["train", "--architecture", "gru", "--set", "task={horizon = 3}"],
            "--set task.horizon: is decided by",
        ),
        *(
            (["run", "--suite", "horizons", "--set", assignment], f"is decided by {option}")
            for assignment, option in (("architecture=lstm", "--architectures"), ("seed=1", "--seeds"))
        ),
        *(
            ([command, "gru", "--set", assignment], f"is decided by {option} here")
            for command, horizon in (("describe", "--horizon"), ("diagnose", "--horizons"))
            for assignment, option in (("task.horizon=5", horizon), ("architecture=lstm", "ARCHITECTURE"))
        ),
        (["train", "--architecture", "gru", "--match-parameters", "9"], "--match-parameters 9: no width"),
        (
            ["describe", "gru", "--match-parameters", "75000", "--set", "memory.hidden_size=64"],
            "--match-parameters 75000: chooses the memory's width, and --set memory.hidden_size=64 has",
        ),
        (
            ["check", "gru", "--set", "ppo.learning_rate=0.1"],
            "--set ppo.learning_rate=0.1: the laws know nothing of it",
        ),
        (["tune", "grru"], "architecture 'grru': unknown; did you mean 'gru'?"),
        (["diagnose", "gru", "--horizons", "20;30"], "--horizons '20;30': must be numbers with commas"),
        (
            ["describe", "gru", "--horizon", str(10**9)],
            "task.horizon 1000000000: episodes of 1,000,000,002",
        ),
        (
            ["diagnose", "gru", "--horizons", f"3,{10**9}"],
            "steps are too long to look into (legal: at most 20,000)",
        ),
        (["describe", "gru", "--preset", ""], "--preset '': unknown (legal: "),
        (["run", *ELSEWHERE, "--architectures", ""], "architecture '': unknown (legal: "),
        (["run", *ELSEWHERE, "--out", ""], "'--out': must not be empty"),
        (["run", *ELSEWHERE, "--checkpoint-seconds", "nan"], "nan is not a finite number"),
        (["run", *ELSEWHERE, "--stall-seconds", "inf"], "inf is not a finite number"),
        (["run", *ELSEWHERE, "--executor", "ray", "--ray-gpus", "nan"], "nan is not a finite number"),
        (["tune", "grru", "--into", ""], "'--into': must not be empty"),
        (["report", "/no/such/folder"], "does not exist"),
        (["list", "suits"], "kind 'suits': unknown; did you mean 'suites'?"),
        (["describe", "gru_pm"], "did you mean 'gru_pmm'?"),
        (["describe", "GRU"], "architecture 'GRU': unknown; did you mean 'gru'?"),
        (
            ["describe", "pmm_addressed", "--set", "memory.controller=GRU"],
            "controller 'GRU': unknown; did you mean 'gru'? (legal: feedforward, gru)",
        ),
        (["check", "gru_pm"], "did you mean 'gru_pmm'?"),
        (["runn"], "command 'runn': unknown; did you mean 'run'?"),
    ],
)
def test_a_mistake_gets_one_line_and_exit_code_2(membench, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = membench(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1 and out == ""


def test_a_mistake_in_a_suite_file_names_file_and_key(membench, suite, tmp_path):
    suite.write_text(TINY_SUITE.replace("total_timesteps = 200", "total_timestep = 200"))
    code, _, err = membench("run", "--suite", suite, "--out", tmp_path / "out")
    assert code == 2
    assert f"{suite}, profile 'quick', cell 0: key 'total_timestep': unknown" in err
    assert err.count("\n") == 1


@pytest.mark.plots(drawn=True)
def test_a_suite_gives_records_weights_tables_plots_and_a_report(membench, suite, tmp_path):
    results = tmp_path / "out"
    code, out, err = membench("run", "--suite", suite, "--out", results, "--jobs", 2)
    assert code == 0, err
    assert "GRU" in out and "LSTM" in out and str(results / "report.md") in out
    assert f"page:   {results / 'report.html'}" in out and (results / "report.html").exists()
    assert len(list((results / "runs").glob("*.json"))) == len(list((results / "runs").glob("*.pt"))) == 8
    assert (results / "tables" / "success.csv").exists()
    assert (results / "plots" / "success.png").exists() and (results / "plots" / "success.svg").exists()

    code, _, err = membench("run", "--suite", suite, "--out", results)
    assert code == 0 and "8 runs are there already, 0 to do" in err


def test_only_what_is_missing_is_done_again(membench, suite, tmp_path):
    results = tmp_path / "out"
    membench("run", "--suite", suite, "--out", results, "--architectures", "gru")
    records = sorted((results / "runs").glob("*.json"))
    lost = records.pop()
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in records}

    code, out, _ = membench("report", results)
    assert code == 0 and "missing: 1 of 4 runs" in out
    assert "no record" in (results / "report.md").read_text()

    code, _, err = membench("run", "--suite", suite, "--out", results, "--architectures", "gru")
    assert code == 0 and "3 runs are there already, 1 to do" in err
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in records} == before


def test_a_second_command_with_other_memories_joins_the_report(membench, suite, tmp_path):
    for architecture in ("gru", "lstm"):
        membench("run", "--suite", suite, "--out", tmp_path, "--architectures", architecture, "--seeds", 1)
    _, out, _ = membench("report", tmp_path)
    assert "GRU" in out and "LSTM" in out


def test_runs_of_other_settings_stay_out_of_the_tables(membench, suite, tmp_path):
    for rate in (1e-3, 2e-3):
        arguments = ["--architectures", "gru", "--seeds", 1, "--set", f"ppo.learning_rate={rate}"]
        membench("run", "--suite", suite, "--out", tmp_path, *arguments)
    code, out, _ = membench("report", tmp_path, "--json")
    assert code == 0
    assert [record["config"]["ppo"]["learning_rate"] for record in json.loads(out)["records"]] == [2e-3, 2e-3]
    assert len(list((tmp_path / "runs").glob("*.json"))) == 4  # nothing was lost


def test_a_damaged_record_is_named_and_set_aside(membench, suite, tmp_path):
    membench("run", "--suite", suite, "--out", tmp_path, "--architectures", "gru", "--seeds", 1)
    damaged = next((tmp_path / "runs").glob("*.json"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    code, out, err = membench("report", tmp_path)
    assert code == 0
    assert str(damaged) in err and "missing: 1 of 2 runs" in out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no record of any run"),
        (b'{"a": 1}\n[]\n', "holds no record of any run"),
        (msgspec.json.encode(make_record()), "holds no record of a planned run"),
    ],
    ids=["empty", "foreign", "of other settings"],
)
def test_a_file_without_records_leaves_the_report_beside_it(membench, tmp_path, content, message):
    file, report = tmp_path / "some.jsonl", tmp_path / "report.md"
    file.write_bytes(content)
    if "planned" in message:
        configs = [make_record(seed=1).config]
        write_plan(tmp_path, Plan(suite="s", profile="p", question="?", command="c", configs=configs))
    report.write_text("of an hour")
    before = sorted(tmp_path.iterdir())
    code, out, err = membench("report", file)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"membench: {file}: {message}"
    assert err.count("left out: ") == len(content.splitlines()) * (b"run_id" not in content)
    assert report.read_text() == "of an hour" and sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_no_results_folder_gets_no_report(membench, tmp_path):
    code, _, err = membench("report", tmp_path)
    assert code == 2 and f"{tmp_path}: holds no record of any run" in err
    assert not list(tmp_path.iterdir())


def test_packed_records_are_read_like_single_ones_and_are_not_run_again(membench, suite, tmp_path):
    out = tmp_path / "out"
    membench("run", "--suite", suite, "--out", out, "--architectures", "gru")
    assert membench("report", out, "--pack")[0] == 0
    before = {path.name: path.read_bytes() for path in [out / "report.md", *(out / "tables").iterdir()]}
    records = read_records(out)[0]
    shutil.rmtree(out / "runs")
    code, text, _ = membench("report", out / "runs.jsonl", "--json")
    assert code == 0 and len(json.loads(text)["records"]) == len(records) == 4
    code, _, err = membench("run", "--suite", suite, "--out", out, "--architectures", "gru")
    assert code == 0 and "4 runs are there already, 0 to do" in err
    assert before == {
        path.name: path.read_bytes() for path in [out / "report.md", *(out / "tables").iterdir()]
    }
    assert read_records(out) == (records, [])


def test_a_run_that_another_version_named_otherwise_is_not_done_again(membench, suite, tmp_path):
    arguments = ["run", "--suite", suite, "--out", tmp_path, "--architectures", "gru", "--seeds", 1]
    membench(*arguments)
    for path in (tmp_path / "runs").glob("*.json"):
        old = path.with_name(f"old-{path.name}")
        old.write_text(path.read_text().replace(f'"{path.stem}"', f'"{old.stem}"'))
        path.unlink()
    code, out, err = membench(*arguments)
    assert code == 0 and "2 runs are there already, 0 to do" in err and "missing" not in out


def test_packing_drops_nothing_that_is_damaged(membench, suite, tmp_path):
    membench("run", "--suite", suite, "--out", tmp_path, "--architectures", "gru", "--seeds", 1)
    membench("report", tmp_path, "--pack")
    packed = tmp_path / "runs.jsonl"
    content = packed.read_bytes() + b'{"run_id": "gru'
    packed.write_bytes(content)
    code, _, err = membench("report", tmp_path, "--pack")
    assert code == 2 and "runs.jsonl, line 3" in err
    assert packed.read_bytes() == content


def test_train_writes_what_a_suite_writes(membench, tmp_path):
    code, out, _ = membench(*TRAIN, "--out", tmp_path, "--json")
    assert code == 0
    record = json.loads(out)
    assert (record["architecture"], record["horizon"], record["seed"]) == ("gru", 2, 0)
    assert json.loads((tmp_path / "runs" / f"{record['run_id']}.json").read_text()) == record
    assert (tmp_path / "runs" / f"{record['run_id']}.pt").exists()


def test_train_does_not_overwrite(membench, tmp_path):
    first = json.loads(membench(*TRAIN, "--out", tmp_path, "--json")[1])
    code, out, err = membench(*TRAIN, "--out", tmp_path, "--json")
    assert code == 0 and json.loads(out) == first
    assert "--refresh" in err
    again = json.loads(membench(*TRAIN, "--out", tmp_path, "--json", "--refresh")[1])
    assert again["seconds"] != first["seconds"]


def test_train_and_the_pool_give_the_same_record(membench, suite, tmp_path):
    membench("run", "--suite", suite, "--out", tmp_path / "pool", "--architectures", "gru", "--seeds", 1)
    pooled = read_records(tmp_path / "pool")[0][0]
    settings = ["ppo.num_envs=8", "memory={hidden_size = 8, num_layers = 1}"]
    settings.append("evaluation={interval = 100, num_episodes = 16, num_final_episodes = 20}")
    options = [part for setting in settings for part in ("--set", setting)]
    arguments = ["--architecture", "gru", "--horizon", 1, "--total-timesteps", 200, *options]
    record = json.loads(membench("train", *arguments, "--out", tmp_path / "here", "--json")[1])
    assert record["run_id"] == pooled.run_id
    curve = [(point["steps"], point["success"], point["grad_norm"]) for point in record["curve"]]
    assert curve == [(point.steps, point.success, point.grad_norm) for point in pooled.curve]
    assert record["success"] == pooled.success
    assert "seconds" in MEASURED_ON_THE_MACHINE


@pytest.mark.parametrize("kind", ["architectures", "suites", "presets", "tasks"])
def test_listings_can_be_read_by_programs(membench, kind):
    code, out, _ = membench("list", kind, "--json")
    assert code == 0
    assert all(entry["name"] for entry in json.loads(out))


def test_list_shows_all_kinds(membench):
    _, out, _ = membench("list")
    assert all(word in out for word in ("gru_pmm", "horizons", "doc", "CueMemory-v0"))


def test_where_there_is_no_terminal_nothing_is_cut_or_wrapped(membench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    _, out, _ = membench("list", "suites")
    questions = [load_suite(name).question for name in list_suites()]
    assert max(map(len, questions)) > 80 and all(question in out for question in questions)
    _, out, _ = membench("describe", "gru", "--horizon", "2", "--set", "memory.hidden_size=8")
    assert all(line.strip() and not line.startswith(" ") for line in out.splitlines())


def test_how_a_run_ended_is_one_line_where_there_is_no_terminal():
    record = make_record(status="failed", error="what went wrong, " * 20)
    console = Console(file=io.StringIO(), width=40)
    with SuiteDisplay(console, num_planned=1, num_present=0) as display:
        display.update(Standing(Path(), [record.config], 1, finished=[record]))
    assert console.file.getvalue().count("\n") == 1


def test_describe_counts_the_reference_agent(membench):
    _, out, _ = membench("describe", "gru_pmm", "--json")
    description = json.loads(out)
    # 2 GRU layers: 3 gates x 256 x (input + 256 + 2 biases).
    assert description["parameters"]["encoder"] == 3 * 256 * (4 + 256 + 2) + 3 * 256 * (256 + 256 + 2)
    assert description["parameters"]["total"] == 935_685
    assert description["state_bytes"] == 4 * (2 * 256 + 64 * 128)
    assert description["flops_per_step"] > 1e6 and description["seconds_per_acting_step"] > 0


def test_a_run_that_crashes_is_recorded_and_the_others_go_on(suite, tmp_path):
    source = Path("architectures/gru.py").read_text().replace("class GRU(", "class Dying(")
    source += "\n\nimport os\nDying.step = Dying.forward = lambda *args, **kwargs: os._exit(9)\n"
    (tmp_path / "dying_memory.py").write_text(source)
    command = [sys.executable, "-c", plotless.PROGRAM, "run", "--suite", suite, "--seeds", "1"]
    command += ["--architectures", "gru,dying_memory:Dying", "--out", "out"]
    command += ["--set", "memory={hidden_size = 8, num_layers = 1}", "--set", "task.horizon=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    records = {record.architecture: record for record in read_records(tmp_path / "out")[0]}
    assert len(records) == 2 and records["gru"].status != "failed"
    assert records["dying_memory:Dying"].status == "failed"
    assert "its process ended" in (records["dying_memory:Dying"].error or "")
    assert done.returncode == 1
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert "1 run is there already, 1 to do" in again.stderr  # only what failed is tried again


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_suite_keeps_what_has_ended_and_goes_on(suite, tmp_path, send, number):
    suite.write_text(TINY_SUITE.replace("total_timesteps = 200\n\n", "total_timesteps = 4_000\n\n"))
    command = [sys.executable, "-c", plotless.PROGRAM, "run", "--suite", suite, "--seeds", "1"]
    command += ["--out", "out", "--jobs", "1"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("out/runs/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    send(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "interrupted" in err and "Traceback" not in err
    with pytest.raises(ProcessLookupError):  # no worker goes on
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    records, complaints = read_records(tmp_path / "out")
    assert 1 <= len(records) < 4 and not complaints
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert f"there already, {4 - len(records)} to do" in done.stderr
    assert len(read_records(tmp_path / "out")[0]) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_any_command_says_that_it_was_interrupted(number, membench, monkeypatch):
    monkeypatch.setattr("membench.check.check_architecture", lambda *_: signal.raise_signal(number))
    code, out, err = membench("check", "gru")
    assert (code, out, err.strip()) == (128 + number, "", "interrupted")


def test_how_a_run_ended_is_said_in_the_same_words_everywhere(membench, tmp_path):
    soon = ("--set", "evaluation.solved_at=0.01", "--set", "evaluation.interval=100")
    _, out, _ = membench(*TRAIN, *soon, "--out", tmp_path)
    line, place = out.splitlines()
    (record,) = read_records(tmp_path)[0]
    assert line == describe_outcome(record) and f"at {record.steps_to_solved:,} steps; success" in line
    assert place.startswith("record: ")
    assert logs.last_lines(tmp_path, record.run_id, 1)[0].endswith(f" ended: {line}")
    shown = Console(file=StringIO(), width=40)
    with SuiteDisplay(shown, 1, 0) as display:
        display.update(Standing(tmp_path, [record.config], 1, finished=[record]))
    assert shown.file.getvalue() == f"{line}\n"


def test_help_needs_no_torch():
    code = "import sys, membench.cli; assert not {'torch', 'pandas', 'matplotlib'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_curriculum_sets_horizon_and_budget(membench, tmp_path):
    code, out, _ = membench(
        *("train", "--architecture", "gru", "--set", "memory.hidden_size=16", "--json"),
        *("--curriculum", "1:100,2:300", "--out", tmp_path),
    )
    record = json.loads(out)
    assert code == 0
    assert (record["horizon"], record["config"]["total_timesteps"]) == (2, 400)
    assert record["config"]["curriculum"] == [
        {"horizon": 1, "timesteps": 100},
        {"horizon": 2, "timesteps": 300},
    ]


def test_parameters_can_be_matched_in_a_single_run(membench, tmp_path):
    code, out, _ = membench(
        *("train", "--architecture", "lstm", "--match-parameters", "20000", "--total-timesteps", "100"),
        *("--json", "--out", tmp_path),
    )
    assert code == 0
    assert json.loads(out)["parameters"]["total"] == pytest.approx(20_000, rel=0.05)


@pytest.fixture
def tiny_search(monkeypatch):
    monkeypatch.setattr(tuning, "TOTAL_TIMESTEPS", 200)
    monkeypatch.setattr(tuning, "NUM_PARAMETERS", 2_000)
    monkeypatch.setattr(tuning, "NUM_TRIALS", 2)


def test_a_search_goes_on_where_it_stopped_and_keeps_its_outcome(membench, tmp_path, tiny_search):
    arguments = ("tune", "gru", "--out", tmp_path / "runs", "--into", tmp_path / "tuned.json")
    membench(*arguments)
    record = read_records(tmp_path / "runs")[0][0]
    write_record(
        tmp_path / "runs", msgspec.structs.replace(record, status="solved", steps_to_solved=150, success=1.0)
    )
    code, out, err = membench(*arguments, "--json")
    outcome = json.loads(out)
    assert code == 0 and "4 runs are there already, 0 to do" in err
    assert sorted(steps for trial in outcome["trials"] for steps in trial["steps_to_solved"]) == [
        *(150, 400, 400, 400)
    ]
    assert json.loads((tmp_path / "tuned.json").read_text()) == {"gru": outcome}
    _, out, _ = membench(*arguments)
    assert out.count("not solved") == 3 and out.count("best") == 1 and "400" not in out


def test_a_search_that_found_nothing_names_no_best(membench, tmp_path, tiny_search):
    into = tmp_path / "tuned.json"
    into.write_text("{}")
    code, out, err = membench("tune", "gru", "--out", tmp_path / "runs", "--into", into)
    assert code == 1 and f"no run solved the task: nothing was found, and {into} is as it was" in err
    assert out.count("not solved") == 4 and "best" not in out
    assert into.read_text() == "{}"


def test_a_search_with_failed_runs_says_so_and_exits_with_1(membench, tmp_path, tiny_search, monkeypatch):
    def fail(configs, results, *_):
        records = [failed_record(config, "out of memory") for config in configs]
        records[0] = msgspec.structs.replace(records[0], status="solved", steps_to_solved=150)
        for record in records:
            write_record(results, record)
        return records

    monkeypatch.setattr("membench.cli.running.carry_out", fail)
    code, out, err = membench("tune", "gru", "--out", tmp_path / "runs")
    assert code == 1 and "3 of 4 runs failed and count as not solved" in err
    assert out.count("best") == 1


@pytest.mark.parametrize("place", ["no/such/folder.json", "foreign.json"])
def test_where_the_outcome_shall_go_is_looked_at_before_the_search(membench, tmp_path, tiny_search, place):
    (tmp_path / "foreign.json").write_text("[1]")
    code, out, err = membench("tune", "gru", "--out", tmp_path / "runs", "--into", tmp_path / place)
    assert (code, out, err.count("\n")) == (2, "", 1) and f"--into '{tmp_path / place}'" in err
    assert not (tmp_path / "runs").exists()


def test_a_diagnosis_can_be_read_by_programs(membench):
    code, out, _ = membench(
        "diagnose", "gru", "--horizons", "3,30", "--set", "memory.hidden_size=16", "--json"
    )
    found = json.loads(out)
    assert code == 0 and found.keys() == {"3", "30"}
    assert found["3"]["cue_gradient"] > found["30"]["cue_gradient"] > 0
