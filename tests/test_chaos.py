"""Whatever is killed, and whenever: what is left in the end is what an undisturbed program leaves.

`pytest -m slow -s tests/test_chaos.py` tells what was done and what came of it.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import plotless
import psutil
import pytest
import torch
from test_train import without_timings

from membench.folders import stamp_of
from membench.frame import to_frame
from membench.records import MEASURED_ON_THE_MACHINE, read_records

SUITE = """
question = "Does it survive?"
architectures = ["gru", "lstm"]

[settings]
ppo.num_envs = 16
evaluation = { interval = 2_000, num_episodes = 32, num_final_episodes = 50, stop_when_solved = false }

[memory]
gru = { hidden_size = 16, num_layers = 1 }
lstm = { hidden_size = 16, num_layers = 1 }

[profiles.quick]
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux which process works on which run")


class Monkey:
    """Kills what it was told to, at random moments.

    A run is spared until it has left a new checkpoint: two processes in a row without one are what makes a
    run count as failed.
    """

    def __init__(self, results, command, seed):
        self.results, self.command, self.random = results, command, random.Random(seed)
        self.killed = {}
        """Run -> stamp of its checkpoint when its process was killed."""
        self.num_kills = 0
        self.records = {}

    def live(self, *, num_kills, ends):
        """Start the program, kill `num_kills` workers and then the program itself, or let it end."""
        program = subprocess.Popen(
            self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            while program.poll() is None and not (ends is not None and num_kills <= 0):
                self._wait_for_a_worker(program)
                time.sleep(self.random.uniform(0, 1.5))
                num_kills -= self._kill_a_worker(program) if num_kills > 0 else 0
                if ends is None and num_kills <= 0:
                    break
            if ends is not None:
                self._wait_for_a_worker(program)
                time.sleep(self.random.uniform(0.2, 1.5))
                assert program.poll() is None, "nothing was left to be disturbed"
                (os.killpg if ends == "group" else os.kill)(program.pid, signal.SIGKILL)
                self._see_that_nothing_goes_on(program)
            _, err = program.communicate(timeout=900)
        finally:
            for process in members(program.pid):
                process.kill()
            program.wait()
        self._see_that_no_record_changed()
        return program.returncode, err

    def _wait_for_a_worker(self, program):
        while program.poll() is None and not self._workers(program):
            time.sleep(0.05)

    def _workers(self, program):
        """Return run -> process of those at work."""
        found = {}
        for process in members(program.pid):
            try:
                logs = [Path(file.path) for file in process.open_files() if file.path.endswith(".log")]
            except psutil.Error:
                continue
            found |= {path.stem: process for path in logs if path.parent == self.results / "logs"}
        return found

    def _checkpoint(self, run_id):
        return stamp_of(self.results / "checkpoints" / f"{run_id}.pt")

    def _kill_a_worker(self, program):
        fair = {
            run_id: process
            for run_id, process in self._workers(program).items()
            if run_id not in self.killed or self._checkpoint(run_id) != self.killed[run_id]
        }
        if not fair:
            return 0
        run_id = self.random.choice(sorted(fair))
        self.killed[run_id] = self._checkpoint(run_id)
        fair[run_id].kill()
        self.num_kills += 1
        return 1

    @staticmethod
    def _see_that_nothing_goes_on(program):
        deadline = time.monotonic() + 20
        while left := members(program.pid):
            assert time.monotonic() < deadline, f"orphans: {left}"
            time.sleep(0.05)

    def _see_that_no_record_changed(self):
        stamps = {path: stamp_of(path) for path in (self.results / "runs").glob("*.json")}
        assert self.records.items() <= stamps.items(), "a run that had ended was done again"
        self.records = stamps


def members(session):
    """Return the processes of a session that are alive, its first one left out."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        except ProcessLookupError:
            continue
    return [process for process in found if process.pid != session]


def survive(folder, cells, *arguments, num_runs, num_worker_kills, num_program_kills, seed):
    """Run a suite undisturbed and under attack, and compare; return what was done."""
    suite = folder / "chaos.toml"
    suite.write_text(SUITE + cells)
    command = [sys.executable, "-c", plotless.PROGRAM, "run", "--suite", str(suite), *arguments]
    command += ["--jobs", "2", "--checkpoint-seconds", "0.5", "--out"]
    whole, broken = folder / "whole", folder / "broken"
    subprocess.run([*command, str(whole)], check=True, capture_output=True, timeout=900)

    monkey = Monkey(broken, [*command, str(broken)], seed)
    for life in range(num_program_kills):
        share = num_worker_kills * (life + 1) // (num_program_kills + 1)
        monkey.live(num_kills=share - monkey.num_kills, ends="group" if life % 2 else "program alone")
    code, err = monkey.live(num_kills=num_worker_kills - monkey.num_kills, ends=None)
    assert code == 0, err
    assert monkey.num_kills == num_worker_kills

    expected, records = read_records(whole), read_records(broken)
    assert expected[1] == records[1] == []
    assert len(records[0]) == num_runs
    assert [without_timings(record) for record in records[0]] == [
        without_timings(record) for record in expected[0]
    ]
    frames = [
        to_frame(found[0]).drop(columns=["curve", *MEASURED_ON_THE_MACHINE], errors="ignore")
        for found in (expected, records)
    ]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    for record in records[0]:
        one, other = (
            torch.load(results / "runs" / f"{record.run_id}.pt", weights_only=True)
            for results in (whole, broken)
        )
        assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [path.read_text() for path in (broken / "logs").iterdir()]
    assert len(logs) == num_runs and all(log.count("Z ended: ") <= 1 for log in logs)
    assert not list((broken / "checkpoints").iterdir()) and not list((broken / "progress").iterdir())
    return Counter(
        {
            "starts of a run": sum(log.count(" started: ") for log in logs),
            "resumptions from a checkpoint": sum(log.count(" resumed from its checkpoint ") for log in logs),
            "workers killed": monkey.num_kills,
            "programs killed": num_program_kills,
            "identical records": len(records[0]),
        }
    )


def cell(horizon, total_timesteps):
    return f"[[profiles.quick.cells]]\ntask.horizon = {horizon}\ntotal_timesteps = {total_timesteps}\n"


def test_a_killed_worker_and_a_killed_program_change_no_result(tmp_path):
    cells = "seeds = 3\n" + cell(20, 10_000)
    told = survive(
        tmp_path, cells, "--architectures", "gru", num_runs=3, num_worker_kills=1, num_program_kills=1, seed=0
    )
    assert told["starts of a run"] >= 4


@pytest.mark.slow
def test_thirty_kills_change_no_result(tmp_path):
    cells = "seeds = 2\n" + "".join(cell(horizon, 40_000) for horizon in (15, 16, 17, 18, 19, 20))
    told = survive(tmp_path, cells, num_runs=24, num_worker_kills=20, num_program_kills=10, seed=0)
    print(*(f"{what}: {number}" for what, number in told.items()), sep="\n")
    assert told["resumptions from a checkpoint"] >= 10
    shutil.rmtree(tmp_path / "whole")
