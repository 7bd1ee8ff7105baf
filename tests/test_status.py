"""`membench status`: how far a folder has come, without touching it."""

import json
import os
import time

import msgspec
import pytest
from test_report import make_record

from membench import logs
from membench.execute import Standing
from membench.folders import make_results_folder, record_path
from membench.plan import Plan, write_plan
from membench.progress import LONGEST_SILENCE, noting_progress, progress_path, read_note, this_kernel
from membench.records import write_record
from membench.status import folder_status, seconds_left
from membench.training import Progress

RECORDS = [make_record(seed=seed) for seed in range(5)]
CONFIGS = [record.config for record in RECORDS]
LABELS = [config.label for config in CONFIGS]


@pytest.fixture
def results(tmp_path):
    """Five planned runs: one solved, one failed, one under way, one that died, one not begun."""
    make_results_folder(tmp_path)
    write_plan(tmp_path, Plan(suite="s", profile="quick", question="?", command="", configs=CONFIGS))
    write_record(tmp_path, RECORDS[0])
    write_record(tmp_path, make_record(seed=1, status="failed", error="out of memory"))
    write_note(tmp_path, CONFIGS[2], steps=50_000)
    write_note(tmp_path, CONFIGS[3], steps=10_000, age=LONGEST_SILENCE + 5)
    return tmp_path


def write_note(results, config, steps, age=0.0):
    path = results / "progress" / f"{config.run_id}.json"
    path.parent.mkdir(exist_ok=True)
    note = {"steps": steps, "total_timesteps": 150_000, "horizon": 10, "success": 0.5, "train_success": None}
    path.write_text(json.dumps(note))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_every_planned_run_is_in_one_list(results):
    status = folder_status(results)
    assert (status.planned, status.done, status.complaints) == (5, {"solved": 1}, [])
    assert status.failed == [f"{LABELS[1]}: out of memory"]
    assert [(run.label, run.note.steps) for run in status.running] == [(LABELS[2], 50_000)]
    assert status.missing == [LABELS[3], LABELS[4]]  # the note of a dead process is not a run


@pytest.mark.parametrize(
    ("age", "runs"), [(0, True), (-60, True), (LONGEST_SILENCE - 5, True), (-3_600, False)]
)
def test_a_note_counts_for_five_minutes_and_a_clock_that_was_set_back_does_not_make_it_last(
    results, age, runs
):
    write_note(results, CONFIGS[4], 10, age)
    assert (LABELS[4] in [run.label for run in folder_status(results).running]) == runs


def test_on_this_machine_a_run_goes_on_while_its_lock_is_held_however_old_its_note(results):
    def running():
        return [run.label for run in folder_status(results).running]

    noted = CONFIGS[4]
    with noting_progress(results, noted.run_id) as note:
        note(Progress(steps=10, total_timesteps=100, horizon=3, success=None, train_success=0.5))
        path = progress_path(results, noted.run_id)
        assert json.loads(path.read_text())["kernel"] == this_kernel()
        os.utime(path, (0, 0))
        with logs.claim(results, noted.run_id):
            assert LABELS[4] in running()
        assert LABELS[4] not in running()  # its process is gone, as when it was killed
        os.utime(path)
        assert LABELS[4] not in running()
        path.write_text(path.read_text().replace(this_kernel(), "of another machine"))
        assert LABELS[4] in running()  # whose locks may not be seen from here
    assert not path.exists()


def test_a_note_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def look(*arguments):
        assert read_note(tmp_path, "run") is None
        raise OSError("planted")

    monkeypatch.setattr("membench.folders.Path.replace", look)
    with noting_progress(tmp_path, "run") as note, pytest.raises(OSError, match="planted"):
        note(Progress(steps=10, total_timesteps=100, horizon=3, success=None, train_success=None))
    assert not list((tmp_path / "progress").iterdir())


def test_a_lock_is_not_looked_for_through_a_link_or_in_a_pipe(results):
    (results / "logs").mkdir()
    os.mkfifo(logs.log_path(results, "pipe"))
    logs.log_path(results, "link").symlink_to(results / "elsewhere")
    assert not logs.is_claimed(results, "pipe") and not logs.is_claimed(results, "link")
    assert not (results / "elsewhere").exists()


def test_a_run_that_is_done_again_is_running_and_not_done(results):
    write_note(results, CONFIGS[0], 10)
    status = folder_status(results)
    assert status.done == {} and LABELS[0] in [run.label for run in status.running]


def test_the_time_left_is_what_finished_runs_took_per_step(results):
    # 20 s for a budget of 150,000 steps; 4 runs to do, one of them a third through; one at a time.
    assert folder_status(results).seconds_left == pytest.approx(20 * (3 + 2 / 3))
    standing = Standing(results, CONFIGS, num_jobs=1, running=[CONFIGS[2]], finished=[RECORDS[0]])
    assert standing.seconds_left() == pytest.approx(20 * (3 + 2 / 3))


def test_the_time_left_is_told_by_memory_and_never_negative():
    lstm = make_record("lstm", seconds=-5.0)
    gru = make_record("gru", seconds=30.0)
    to_do = [make_record(name, seed=7).config for name in ("gru", "lstm", "mamba")]
    assert seconds_left(to_do, [lstm, gru], {}, num_jobs=2) == pytest.approx((30 + 0 + 15) / 2)
    assert seconds_left(to_do, [gru], {to_do[0].run_id: 10**9}, num_jobs=1) == pytest.approx(60)
    assert seconds_left(to_do, [], {}, num_jobs=1) is None
    assert seconds_left(to_do, [gru], {}, num_jobs=0) is None


def test_the_command_tells_it_and_writes_nothing(results, membench):
    def content():
        return {
            path: (path.stat().st_mtime_ns, path.is_file() and path.read_bytes())
            for path in results.rglob("*")
        }

    before = content()
    code, out, err = membench("status", results)
    assert (code, err) == (0, "")
    assert "1 of 5 runs done (1 solved); 1 running, 1 failed, 2 missing; about 0:01:13 left" in out
    assert f"failed: {LABELS[1]}: out of memory" in out and "50,000 / 150,000" in out
    code, out, _ = membench("status", results, "--json")
    assert code == 0 and json.loads(out) == msgspec.to_builtins(folder_status(results))
    assert content() == before


def test_a_folder_without_a_plan_shows_what_is_there(tmp_path, membench):
    make_results_folder(tmp_path)
    code, _, err = membench("status", tmp_path)
    assert code == 2 and "no run of membench is in there" in err
    write_record(tmp_path, RECORDS[0])
    write_note(tmp_path, CONFIGS[1], 5)
    code, out, _ = membench("status", tmp_path)
    assert code == 0 and "1 of 2 runs done (1 solved); 1 running" in out and CONFIGS[1].run_id in out


@pytest.mark.parametrize("note", ["", "{", "[]", '{"steps": -1}', '{"steps": 1e999}', "\x00"])
def test_what_is_damaged_is_named(note, results, membench):
    write_note(results, CONFIGS[4], 1).write_text(note)
    record_path(results, RECORDS[0].run_id).write_text("{")
    code, out, err = membench("status", results)
    assert code == 0 and "0 of 5 runs done; 1 running, 1 failed, 3 missing" in out
    assert "not a record of membench" in err and "not a note of a run's progress" in err
