"""What carries runs out: whoever does, the records are the same; and what is asked of it is checked."""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import plotless
import psutil
import pytest
from test_train import without_timings

from membench.frame import to_frame
from membench.plan import shard_of
from membench.records import MEASURED_ON_THE_MACHINE, read_records
from membench.suite import load_suite, plan_runs

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra ray is not installed"
)
needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("submitit") is None, reason="the extra slurm is not installed"
)

SUITE = """
question = "Does it matter where they run?"
architectures = ["gru"]

[settings]
ppo.num_envs = 16
evaluation = { interval = 1_000, num_episodes = 32, num_final_episodes = 50, stop_when_solved = false }

[memory]
gru = { hidden_size = 16, num_layers = 1 }

[profiles.quick]
seeds = 3
[[profiles.quick.cells]]
task.horizon = 10
total_timesteps = STEPS
"""


IMPATIENT = f"""
from membench.executors import slurm_jobs
from membench import execute
slurm_jobs.LOST_SECONDS = slurm_jobs.LOOK_SECONDS = 0
execute.REFUSED_SECONDS = 1
{plotless.PROGRAM}
"""
"""The same, but a job that is not in Slurm's queue is lost at once, and one that is refused offered soon."""

SLURM = {
    "srun": "",
    "sacct": "echo 'Slurm accounting storage is disabled' >&2; exit 1",
    "squeue": "cat QUEUE",
    "scancel": 'sed -i "/^$1$/d" QUEUE',
    "sbatch": """
        echo >> HERE/attempts
        test -e HERE/refusal && cat HERE/refusal >&2 && exit 1
        sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' $1 | xargs seq 0 | sed 's/^/7_/' >> QUEUE
        echo Submitted batch job 7
    """,
}
"""A Slurm without accounting, on which jobs wait in its queue for ever: bodies of shell scripts."""


class Programs:
    """A suite, and the command that runs it into a results folder."""

    def __init__(self, folder, num_steps, script=plotless.PROGRAM):
        self.folder, self.suite, self.script = folder, folder / "tiny.toml", script
        self.suite.write_text(SUITE.replace("STEPS", str(num_steps)))

    def start(self, results, *arguments):
        command = [sys.executable, "-c", self.script, "run", "--suite", self.suite, "--out", results]
        command += ["--checkpoint-seconds", "0.5", *arguments]
        return subprocess.Popen(
            list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )

    def run(self, name, *arguments):
        """Run the suite and return what it left."""
        program = self.start(results := self.folder / name, *arguments)
        _, err = program.communicate(timeout=300)
        assert program.returncode == 0, err
        return results


def frame_of(results):
    records, complaints = read_records(results)
    assert complaints == []
    return to_frame(records).drop(columns=["curve", *MEASURED_ON_THE_MACHINE], errors="ignore")


def see_that_they_are_the_same(results, others, num_runs):
    """Compare everything that is not measured: frames, and records with their curves."""
    assert len(read_records(results)[0]) == num_runs
    pd.testing.assert_frame_equal(frame_of(results), frame_of(others), check_exact=True)
    records, other_records = (read_records(folder)[0] for folder in (results, others))
    assert list(map(without_timings, records)) == list(map(without_timings, other_records))


def logs_of(results):
    return [path.read_text() for path in sorted((results / "logs").iterdir())]


def wait_until(condition, program, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        assert program.poll() is None, program.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return Programs(tmp_path_factory.mktemp("suite"), num_steps=6_000)


@pytest.fixture(scope="module")
def local(programs):
    """What the local pool leaves."""
    return programs.run("local", "--jobs", 2)


def test_the_parts_of_a_suite_on_one_folder_are_the_suite(programs, local):
    shared = programs.run("shared", "--shard", "1/2")
    first = {record.run_id for record in read_records(shared)[0]}
    assert 0 < len(first) < 3
    report = (shared / "report.md").read_text()
    assert "--shard" not in report and f"Of 3 planned runs, {3 - len(first)} ha" in report
    programs.run("shared", "--shard=2/2")
    see_that_they_are_the_same(shared, local, 3)
    assert [log.count(" started: ") for log in logs_of(shared)] == [1] * 3


def test_two_programs_on_one_folder_at_once_do_each_run_once(programs, local):
    results = programs.folder / "both"
    both = [programs.start(results, "--jobs", 1) for _ in range(2)]
    told = [program.communicate(timeout=300)[1] for program in both]
    assert [program.returncode for program in both] == [0, 0], told
    see_that_they_are_the_same(results, local, 3)
    assert [log.count(" started: ") for log in logs_of(results)] == [1] * 3


@pytest.mark.parametrize("num_shards", [1, 2, 3, 7, 100])
def test_every_run_is_in_one_part_and_parts_are_of_one_size(num_shards):
    configs = plan_runs(load_suite("horizons"), "quick", source="horizons")
    parts = [shard_of(configs, number + 1, num_shards) for number in range(num_shards)]
    assert sorted(config.run_id for part in parts for config in part) == sorted(
        config.run_id for config in configs
    )
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts[0] == [config for config in configs if config in parts[0]]
    assert shard_of(configs[::-1], 1, num_shards) == parts[0][::-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "0/2"], "--shard '0/2': must be I/N with 1 <= I <= N, for example 2/4"),
        (["--shard", "3/2"], "--shard '3/2': must be I/N"),
        (["--shard", "1"], "--shard '1': must be I/N"),
        (["--shard", "1/2/3"], "--shard '1/2/3': must be I/N"),
        (["--shard", "1/99999999999999999999"], "must be I/N"),
        (["--executor", "rya"], "'rya' is not one of"),
        (["--ray-address", "x:1"], "--ray-address: is for --executor ray (got local)"),
        (["--executor", "slurm", "--ray-gpus", "0.5"], "--ray-gpus: is for --executor ray (got slurm)"),
        (["--executor", "ray", "--ray-gpus", "0"], "0"),
        (["--executor", "ray", "--slurm", "time=5"], "--slurm: is for --executor slurm (got ray)"),
        (["--executor", "slurm", "--slurm", "partition"], "--slurm 'partition': must be KEY=VALUE"),
    ],
)
def test_a_mistake_about_executors_is_one_line_and_writes_nothing(arguments, message, membench, tmp_path):
    code, out, err = membench("run", "--suite", "horizons", "--out", tmp_path / "out", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_extra_that_is_not_there_is_named(executor, package, membench, programs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    arguments = ["run", "--suite", programs.suite, "--out", tmp_path, "--executor", executor]
    code, out, err = membench(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"--executor {executor}: needs the package {package}" in err
    assert f"pip install 'membench[{executor}]'" in err


@needs_submitit
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["patrition=gpu"], "--slurm 'patrition': unknown; did you mean 'partition'?"),
        (["cluster=moon"], "--slurm cluster=moon: must be slurm or local"),
        (["cluster=debug"], "--slurm cluster=debug: must be slurm or local"),
        (["cluster=[]"], "--slurm cluster=[]: must be slurm or local"),
        (["nodes=x"], "--slurm nodes=x: must be 1, for a run is one task on one node"),
        (["nodes=2"], "--slurm nodes=2: must be 1"),
        (["ntasks_per_node=true"], "--slurm ntasks_per_node=True: must be 1"),
        (
            ["array_parallelism=all"],
            "--slurm array_parallelism=all: must be a whole number",
        ),
        (["array_parallelism=0"], "--slurm array_parallelism=0: must be a whole number"),
        (["cluster=local", "time=soon"], 'Parameter "timeout_min" expected type'),
        (["cluster=local", "folder=OUT/submitit"], "must lie outside the results folder"),
    ],
)
def test_what_is_asked_of_slurm_is_checked(settings, message, membench, programs, tmp_path):
    arguments = ["run", "--suite", programs.suite, "--out", tmp_path / "out", "--executor", "slurm"]
    for setting in settings:
        arguments += ["--slurm", setting.replace("OUT", str(tmp_path / "out"))]
    code, out, err = membench(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err
    assert not (tmp_path / "out" / "submitit").exists()


@needs_submitit
def test_submitit_leaves_the_same_records_and_nothing_to_unpickle_in_the_results(programs, local):
    folder = programs.folder / "submitit"
    settings = ["--executor", "slurm", "--slurm", "cluster=local", "--slurm", f"folder={folder}"]
    results = programs.run("submitted", *settings, "--jobs", 2)
    see_that_they_are_the_same(results, local, 3)
    assert list(folder.glob("*.pkl")) and not list(results.rglob("*.pkl"))


@pytest.mark.slow
@needs_submitit
def test_a_job_that_is_preempted_saves_its_run_and_goes_on(tmp_path):
    """submitit's controller puts a job back that it was told to preempt, as Slurm's queue would."""
    programs = Programs(tmp_path, num_steps=30_000)
    whole = programs.run("whole", "--jobs", 2)
    results, folder = programs.folder / "preempted", programs.folder / "submitit-preempted"
    settings = ["--executor", "slurm", "--slurm", "cluster=local", "--slurm", f"folder={folder}"]
    program = programs.start(results, *settings, "--jobs", 1)
    wait_until(lambda: list(results.glob("checkpoints/*.pt")), program)
    for process in psutil.Process(program.pid).children(recursive=True):
        if "submitit.core._submit" in process.cmdline():
            process.send_signal(signal.SIGUSR2)
    _, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    see_that_they_are_the_same(results, whole, 3)
    told = "".join(logs_of(results))
    assert told.count(" resumed from its checkpoint at ") == told.count("; its checkpoint is complete") == 1
    assert len(list(folder.glob("*_submitted.pkl"))) == 3  # it was put back, not submitted anew


@pytest.mark.slow
@needs_submitit
def test_ctrl_c_saves_what_slurm_is_at_work_on(tmp_path):
    programs = Programs(tmp_path, num_steps=30_000)
    whole = programs.run("whole", "--jobs", 2)
    results, folder = programs.folder / "stopped", programs.folder / "submitit-stopped"
    settings = ["--executor", "slurm", "--slurm", "cluster=local", "--slurm", f"folder={folder}", "--jobs", 1]
    program = programs.start(results, *settings)
    wait_until(lambda: list(results.glob("checkpoints/*.pt")), program)
    program.send_signal(signal.SIGINT)
    _, err = program.communicate(timeout=300)
    assert program.returncode == 130 and "this goes on: membench run" in err
    assert "; its checkpoint is complete" in "".join(logs_of(results))
    see_that_they_are_the_same(programs.run("stopped"), whole, 3)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put `SLURM` on the path; return its folder: `queue` lists its jobs, `refusal` is what it answers."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "queue").touch()
    for name, body in SLURM.items():
        body = body.replace("QUEUE", str(folder / "queue")).replace("HERE", str(folder))
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def outcome(program, seconds=120):
    """Return a program's exit code and what it said, once it has ended; it does not outlive the test."""
    try:
        _, err = program.communicate(timeout=seconds)
    finally:
        program.kill()
    return program.returncode, err


@needs_submitit
def test_jobs_that_slurm_drops_without_a_word_are_lost_though_there_is_no_accounting(slurm, tmp_path):
    programs, pickles = Programs(tmp_path, num_steps=1_000, script=IMPATIENT), tmp_path / "pickles"
    (slurm / "queue").unlink()
    (slurm / "queue").symlink_to("/dev/null")
    pickles.mkdir()
    (pickles / "7_1_0_log.err").write_text("slurmstepd: error: Detected 1 oom_kill event\n\n")
    program = programs.start(tmp_path / "out", "--executor", "slurm", "--slurm", f"folder={pickles}")
    code, err = outcome(program)
    records, _ = read_records(tmp_path / "out")
    assert [record.status for record in records] == ["failed"] * 3, (code, err)
    assert all("its process ended: no word from its job" in record.error for record in records)
    (told,) = [record.error for record in records if "stepd" in record.error.split(", 2 times")[0]]
    assert f"; the end of {pickles}/7_1_0_log.err: slurmstepd: error: Detected 1 oom_kill event," in told


@needs_submitit
def test_what_slurm_refuses_at_first_is_one_line(slurm, membench, programs, tmp_path):
    (slurm / "refusal").write_text("sbatch: note\nsbatch: error: Invalid partition name specified\n")
    arguments = ["--executor", "slurm", "--slurm", f"folder={tmp_path / 'pickles'}"]
    code, out, err = membench("run", "--suite", programs.suite, "--out", tmp_path / "out", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--executor slurm: the jobs are refused (FailedJobError: sbatch: error: Invalid partition" in err


@needs_submitit
def test_what_slurm_refuses_later_is_offered_again_and_cancels_nothing(slurm, tmp_path):
    """Of three jobs two are lost, which is when Slurm's limit of jobs is reached for a while."""
    programs = Programs(tmp_path, num_steps=1_000, script=IMPATIENT)
    queue, refusal = slurm / "queue", slurm / "refusal"
    settings = ["--executor", "slurm", "--slurm", f"folder={tmp_path / 'pickles'}"]
    program = programs.start(tmp_path / "out", *settings)
    wait_until(lambda: queue.read_text() == "7_0\n7_1\n7_2\n", program)
    refusal.write_text("sbatch: error: AssocMaxSubmitJobLimit\n")
    queue.write_text("7_2\n")
    wait_until(lambda: len((slurm / "attempts").read_text()) > 2, program)
    assert queue.read_text() == "7_2\n"
    refusal.unlink()
    wait_until(lambda: queue.read_text() == "7_2\n7_0\n7_1\n", program)
    program.send_signal(signal.SIGINT)
    code, err = outcome(program)
    assert code == 130 and err.count("AssocMaxSubmitJobLimit") == 1 and queue.read_text() == ""


@needs_submitit
def test_ctrl_c_withdraws_what_waits_in_slurm_s_queue_and_ends(slurm, tmp_path):
    programs = Programs(tmp_path, num_steps=1_000)
    settings = ["--executor", "slurm", "--slurm", f"folder={tmp_path / 'pickles'}"]
    program = programs.start(tmp_path / "out", *settings)
    wait_until(lambda: (slurm / "queue").read_text() == "7_0\n7_1\n7_2\n", program)
    program.send_signal(signal.SIGINT)
    code, err = outcome(program)
    assert code == 130 and "this goes on: membench run" in err
    assert (slurm / "queue").read_text() == ""


def squeue(*arguments):
    done = subprocess.run(["squeue", "--array", "--noheader", *arguments], capture_output=True, text=True)
    return done.stdout.split() if done.returncode == 0 else None


@pytest.mark.slow
@needs_submitit
@pytest.mark.skipif(shutil.which("squeue") is None or squeue() is None, reason="no Slurm answers here")
def test_slurm_itself_puts_a_preempted_job_back_and_leaves_the_same_records(tmp_path):
    """docs/reliability.md says how to bring up Slurm on one machine. A job put back waits for two minutes."""
    programs = Programs(tmp_path, num_steps=30_000)
    whole, results, folder = programs.run("whole", "--jobs", 2), tmp_path / "slurm", tmp_path / "submitit"
    program = programs.start(results, "--executor", "slurm", "--slurm", f"folder={folder}")
    wait_until(lambda: list(results.glob("checkpoints/*.pt")), program)
    (run_id, *_) = [path.stem for path in results.glob("checkpoints/*.pt")]
    for job in squeue("--format=%i", "--states=R"):
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
    _, err = program.communicate(timeout=900)
    assert program.returncode == 0, err
    see_that_they_are_the_same(results, whole, 3)
    assert " resumed from its checkpoint at " in (results / "logs" / f"{run_id}.log").read_text()


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of three nodes on this machine, one run's worth of CPU each."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False},
        shutdown_at_exit=False,
    )
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def node_at_work(cluster, results):
    """Return a node, not the head, that is at work on a run which has a checkpoint; None if there is none."""
    for node in cluster.worker_nodes:
        (raylet,) = node.all_processes["raylet"]
        for process in psutil.Process(raylet.process.pid).children(recursive=True):
            try:
                names = [Path(file.path) for file in process.open_files()]
            except psutil.Error:
                continue
            at_work = [path.stem for path in names if path.parent == results / "logs"]
            if any((results / "checkpoints" / f"{run_id}.pt").exists() for run_id in at_work):
                return node
    return None


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_ends_all_runs_though_one_of_three_nodes_dies(cluster, tmp_path):
    programs = Programs(tmp_path, num_steps=12_000)
    whole, results = programs.run("whole", "--jobs", 2), tmp_path / "ray"
    program = programs.start(results, "--executor", "ray", "--ray-address", cluster.address)
    wait_until(lambda: node_at_work(cluster, results), program)
    cluster.remove_node(node_at_work(cluster, results), allow_graceful=False)
    _, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    see_that_they_are_the_same(results, whole, 3)
    told = "".join(logs_of(results))
    assert told.count(" resumed from its checkpoint at ") >= 1 and "its process ended: " in told


@needs_ray
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--set", "num_threads=64"],
            "a run needs 64 CPU on one node, and no node of the cluster has that (alive: ",
        ),
        (["--device", "cuda", "--ray-gpus", "0.5"], "a run needs 1 CPU and 0.5 GPU on one node"),
    ],
)
def test_what_the_cluster_does_not_have_is_said_at_once(arguments, message, cluster, programs, tmp_path):
    where = ["--executor", "ray", "--ray-address", cluster.address]
    program = programs.start(tmp_path / "out", *where, *arguments)
    _, err = program.communicate(timeout=100)
    assert program.returncode == 2 and err.count("\n") == 1 and message in err


@needs_ray
def test_an_address_without_a_cluster_is_one_line(programs, tmp_path):
    program = programs.start(tmp_path / "out", "--executor", "ray", "--ray-address", "127.0.0.1:1")
    _, err = program.communicate(timeout=100)
    assert program.returncode == 2 and err.count("\n") == 1
    assert "--ray-address '127.0.0.1:1': no Ray cluster to be reached there" in err
