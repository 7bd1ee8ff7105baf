"""The pool: what befalls its processes, and other programs on the same results folder."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from io import StringIO
from pathlib import Path

import psutil
import pytest
import torch
from click.exceptions import Exit
from rich.console import Console
from test_chaos import members
from test_checkpoints import plain
from test_train import small_config
from torch import nn

from membench import logs
from membench.care import Care
from membench.checkpoints import checkpoint_path
from membench.cli.carrying_out import keeping_what_is_done
from membench.display import SuiteDisplay
from membench.engine import Engine
from membench.errors import InputError
from membench.execute import Standing, Stopped, run_all
from membench.executors import Refusal
from membench.executors.local import LocalJob, LocalPool
from membench.folders import make_results_folder, record_path, stamp_of
from membench.memory import Memory
from membench.records import read_record
from membench.train import train
from membench.worker import run_here

NUM_CALLS = 18
"""Calls of a memory that learns until its fault shows: that which measures the gradient at the cue, four
updates of four epochs, 640 steps, and the first epoch of the fifth."""


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_memory():
    raise MemoryError("planted")


def hang():
    time.sleep(10_000)


FAULTS = {"kill": kill_itself, "memory": run_out_of_memory, "hang": hang}


class Faulty(Memory):
    """A sum of what was seen, with a fault: once, if there is a file to remember that by, else always."""

    def __init__(self, input_size, *, hidden_size: int = 8, fault: str = "", marker: str = ""):
        super().__init__(input_size, output_size=hidden_size)
        self.write = nn.Linear(input_size, hidden_size, bias=False)
        self.fault, self.marker, self.num_calls = fault, Path(marker), 0

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        self.num_calls += torch.is_grad_enabled()
        if self.num_calls > NUM_CALLS and self.fault and not self.marker.is_file():
            if self.marker.name:
                self.marker.touch()
            FAULTS[self.fault]()
        sums = self.write(x).cumsum(1) + state["hidden"].unsqueeze(1)
        return sums, {"hidden": sums[:, -1]}


def faulty(**memory):
    settings = small_config(total_timesteps=1_600, evaluation={"num_final_episodes": 20})
    return type(settings)(
        **{name: getattr(settings, name) for name in settings.__struct_fields__}
        | {"architecture": "test_execute:Faulty", "memory": memory}
    )


def run(configs, results, *, num_jobs=2, on_change=lambda standing: None, **care):
    return run_all(configs, results, on_change=on_change, care=Care(**care), engine=Engine(num_jobs=num_jobs))


@pytest.mark.parametrize("fault", ["kill", "memory"])
def test_a_run_whose_process_is_lost_goes_on_from_its_checkpoint(fault, tmp_path):
    config = faulty(fault=fault, marker=str(tmp_path / "marker"))
    run([config], tmp_path, checkpoint_seconds=1e-9)
    record = read_record(record_path(tmp_path, config.run_id))
    assert plain(record) == plain(train(config))  # by now the fault has shown
    log = logs.log_path(tmp_path, config.run_id).read_text()
    assert log.count(" started: ") == 2 and log.count(" resumed from its checkpoint at 640 steps") == 1
    assert {"kill": "killed by SIGKILL", "memory": "MemoryError: planted"}[fault] in log
    assert not checkpoint_path(tmp_path, config.run_id).exists()


def test_a_run_that_ends_every_process_fails_with_its_last_words_while_the_others_go_on(tmp_path):
    killed, sound = faulty(fault="kill"), faulty()
    records = {record.run_id: record for record in run([killed, sound], tmp_path, checkpoint_seconds=3600)}
    assert records[sound.run_id].status != "failed"
    error = records[killed.run_id].error
    assert error.startswith("its process ended: killed by SIGKILL, 2 times in a row without a new checkpoint")
    assert f"logs/{killed.run_id}.log" in error and "started: test_execute:Faulty" in error
    assert read_record(record_path(tmp_path, killed.run_id)).status == "failed"


class Moody(LocalPool):
    """A pool of two slots that refuses at some calls, counted from 1, of `start` or of `num_slots`."""

    def __init__(self, **calls):
        super().__init__()
        self.calls, self.counts = calls, Counter()

    def refuse(self, name):
        self.counts[name] += 1
        if self.counts[name] in self.calls.get(name, ()):
            raise Refusal(f"not now, at call {self.counts[name]}")

    @property
    def num_slots(self):
        self.refuse("num_slots")
        return 2

    def start(self, assignments):
        self.refuse("start")
        return super().start(assignments)


@pytest.mark.parametrize(
    ("name", "calls"),
    [("start", (2, 3)), ("num_slots", (3, 4))],  # once the first two runs are taken and one of them is lost
)
def test_a_refusal_after_the_first_runs_is_waited_out_and_ends_no_other_run(
    name, calls, tmp_path, monkeypatch, capsys
):
    killed, sound = faulty(fault="kill", marker=str(tmp_path / "marker")), faulty()
    executor = Moody(**{name: calls})
    refusals, display = [], SuiteDisplay(Console(stderr=True, width=40), 2, 0)

    def look(standing):
        refusals.append(standing.refusal)
        display.update(standing)

    monkeypatch.setattr("membench.execute.make_executor", lambda *arguments: executor)
    monkeypatch.setattr("membench.execute.REFUSED_SECONDS", 1.0)
    monkeypatch.setattr(LocalJob, "kill", lambda job: pytest.fail("a run was ended"))
    records = run_all([killed, sound], tmp_path, on_change=look)
    assert [record.status for record in records] == ["unsolved"] * 2
    assert {*refusals} == {"", *(f"not now, at call {number}" for number in calls)}
    assert not refusals[-1]
    said = capsys.readouterr().err
    assert said.count("not now, at call ") == 1 and "are offered every 60 s\n" in said


def test_a_refusal_of_the_very_first_runs_is_the_user_s(tmp_path, monkeypatch):
    monkeypatch.setattr("membench.execute.make_executor", lambda *arguments: Moody(start=(1,)))
    with pytest.raises(InputError, match="not now, at call 1"):
        run([faulty()], tmp_path)


def test_a_process_that_hangs_is_replaced_and_its_log_says_where_it_hung(tmp_path):
    config = faulty(fault="hang")
    (record,) = run([config], tmp_path, stall_seconds=2)
    assert record.status == "failed" and "no step for 2 s, 2 times in a row" in record.error
    log = logs.log_path(tmp_path, config.run_id).read_text()
    assert "Fatal Python error: Aborted" in log and "test_execute.py" in log


def test_an_attempt_with_a_new_checkpoint_is_not_counted_against_a_run(tmp_path):
    config = faulty(fault="kill")
    (record,) = run([config], tmp_path, checkpoint_seconds=1e-9)
    assert record.status != "failed" and record.steps >= 1_600
    assert logs.log_path(tmp_path, config.run_id).read_text().count(" started: ") >= 3


def test_a_mistake_found_in_a_process_is_the_user_s(tmp_path):
    config = small_config(ladder=True, task={"horizon": 1}, total_timesteps=95)
    with pytest.raises(InputError, match="a ladder from horizon 1 needs at least 96"):
        run([config], tmp_path)


def held_elsewhere(results, config):
    """Hold a run's lock, as another program would, in a thread; return what ends that."""
    claimed, release = threading.Event(), threading.Event()

    def hold():
        with logs.claim(results, config.run_id) as is_ours:
            assert is_ours
            claimed.set()
            release.wait(60)

    threading.Thread(target=hold).start()
    assert claimed.wait(10)
    return release.set


def test_a_run_in_progress_elsewhere_is_left_alone_and_taken_over_when_its_holder_is_gone(tmp_path):
    config, seen = faulty(), []
    make_results_folder(tmp_path)
    let_go = held_elsewhere(tmp_path, config)

    def look(standing):
        if standing.elsewhere:
            seen.append(len(standing.running))
            let_go()

    (record,) = run([config], tmp_path, on_change=look)
    assert seen[0] == 0 and record.run_id == config.run_id


def test_a_run_that_ends_elsewhere_is_not_done_again_and_counts(tmp_path):
    config = faulty()
    make_results_folder(tmp_path)
    let_go = held_elsewhere(tmp_path, config)

    def end_it(standing):
        if standing.elsewhere:
            run_here(config, tmp_path)
            let_go()

    (record,) = run([config], tmp_path, on_change=end_it)
    assert record.run_id == config.run_id
    assert "started" not in logs.log_path(tmp_path, config.run_id).read_text()


def test_what_has_a_record_already_is_done_again_where_that_is_asked_for(tmp_path):
    config = faulty()
    make_results_folder(tmp_path)
    run_here(config, tmp_path)
    before = stamp_of(record_path(tmp_path, config.run_id))
    run([config], tmp_path)
    assert stamp_of(record_path(tmp_path, config.run_id)) != before


def environment():
    here = Path(__file__).parent
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here.parent, here)))}


def test_a_process_that_is_lost_before_it_has_a_log_is_logged_too(tmp_path):
    logs.append(tmp_path, "run", "its process ended: killed by SIGKILL")
    assert [line.split("Z ")[1] for line in logs.last_lines(tmp_path, "run", 5)] == [
        "its process ended: killed by SIGKILL"
    ]


def test_the_kernel_frees_the_lock_of_a_process_that_was_killed(tmp_path):
    code = "import sys, time; from pathlib import Path; from membench import logs\n"
    code += "with logs.claim(Path(sys.argv[1]), 'run'): print('held', flush=True); time.sleep(600)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert logs.is_claimed(tmp_path, "run")
    holder.kill()
    holder.communicate()
    assert not logs.is_claimed(tmp_path, "run")


def test_reports_of_one_folder_are_written_one_after_another(tmp_path):
    entered = threading.Event()

    def write():
        with logs.taking_turns(tmp_path):
            entered.set()

    with logs.taking_turns(tmp_path):
        other = threading.Thread(target=write)
        other.start()
        assert not entered.wait(timeout=0.5)
    other.join(timeout=20)
    assert entered.is_set()


@pytest.mark.parametrize(("refresh", "told"), [(False, "this goes on"), (True, "this begins anew")])
@pytest.mark.parametrize(
    ("stop", "kept", "code"),
    [
        (Stopped(signal.SIGTERM), "interrupted; what was done is kept", 143),
        (KeyboardInterrupt(), "those under way as of their last checkpoint if they had one", 130),
        (OSError(errno.ENOSPC, "no room"), "those under way as of their last checkpoint if they had one", 1),
    ],
    ids=["Ctrl-C", "Ctrl-C twice", "full disk"],
)
def test_a_command_that_ends_early_says_what_is_kept_and_how_to_go_on(
    stop, kept, code, refresh, told, tmp_path, capsys
):
    with pytest.raises((Exit, SystemExit)) as ended, keeping_what_is_done(tmp_path, refresh=refresh):
        raise stop
    assert getattr(ended.value, "exit_code", None) == code or ended.value.code == code
    err = capsys.readouterr().err
    assert kept in err and told in err


def test_a_display_counts_one_run_as_one(tmp_path):
    shown = Console(file=StringIO())
    configs = [small_config(seed=seed) for seed in range(2)]
    for elsewhere in (configs[:1], configs):
        SuiteDisplay(shown, 2, 0).update(Standing(tmp_path, configs, 1, elsewhere=elsewhere))
    assert shown.file.getvalue().splitlines() == [
        "waiting for another process at work on 1 run",
        "waiting for another process at work on 2 runs",
    ]


def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    command = [sys.executable, "-m", "membench", "train", "--architecture", "test_execute:Faulty"]
    marker = tmp_path / "hangs"
    command += ["--set", "memory.fault=hang", "--set", f"memory.marker={marker}", "--out", tmp_path / "out"]
    program = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not marker.exists():
        assert program.poll() is None
        time.sleep(0.05)
    os.killpg(program.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for a checkpoint that will not come
        program.wait(timeout=2)
    assert list(tmp_path.glob("out/progress/*.json"))
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert program.returncode == 130 and "this goes on: membench train" in err and "Traceback" not in err
    assert not list(tmp_path.glob("out/progress/*.json"))
    deadline = time.monotonic() + 20
    while members(program.pid):  # the server notices by itself that its program has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_hundred_short_runs_take_little_more_than_their_own_time(tmp_path, capsys):
    configs = [
        small_config(seed=seed, total_timesteps=8_000, evaluation={"stop_when_solved": False})
        for seed in range(100)
    ]
    before = time.monotonic()
    records = run(configs, tmp_path)
    wall, ideal = time.monotonic() - before, sum(record.seconds for record in records) / 2
    with capsys.disabled():
        print(f"\n100 runs, {2 * ideal / 100:.2f} s each: {wall:.0f} s, {wall / ideal:.3f} of the ideal; ")
        print(f"load {os.getloadavg()}")
    assert len(records) == 100


@pytest.mark.slow
def test_the_program_does_not_grow_with_the_number_of_runs(tmp_path, capsys):
    tiny = {"total_timesteps": 20, "ppo": {"num_envs": 4}, "evaluation": {"num_final_episodes": 4}}
    configs = [small_config(seed=seed, **tiny) for seed in range(1_000)]
    held = {}

    def look(standing):
        held[len(standing.finished) // 100 * 100] = psutil.Process().memory_info().rss

    run(configs, tmp_path, on_change=look)
    with capsys.disabled():
        print(
            "\nresident MiB after so many runs:", {runs: round(rss / 2**20, 1) for runs, rss in held.items()}
        )
    assert held[1_000] - held[100] < 20 * 2**20


def test_a_command_that_is_refused_leaves_no_server_that_still_loads_pytorch(tmp_path):
    command = [sys.executable, "-m", "membench", "train", "--architecture", "grru"]
    with (tmp_path / "said").open("w") as said:  # a pipe would stay open for as long as a server lives
        program = subprocess.Popen(command, cwd=tmp_path, stderr=said, start_new_session=True)
        assert program.wait(timeout=60) == 2
    assert "did you mean 'gru'" in (tmp_path / "said").read_text()
    _, alive = psutil.wait_procs(members(program.pid), timeout=1)
    assert not alive
