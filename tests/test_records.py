"""Records on disk: one per run, read whole or named, and set aside without a loss."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from test_cli import TINY_SUITE
from test_report import make_record
from test_train import small_config, without_timings

from membench.care import Care
from membench.errors import InputError
from membench.execute import run_all
from membench.folders import make_results_folder, record_path, runs_folder
from membench.plan import Plan, read_plan, write_plan
from membench.records import (
    PACKED,
    describe_outcome,
    pack_records,
    read_records,
    set_aside_faults,
    write_record,
)
from membench.train import train
from membench.untrusted import SET_ASIDE


@pytest.fixture
def results(tmp_path):
    make_results_folder(tmp_path)
    return tmp_path


def content(folder):
    """Every plain file below a folder, by its path."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def renamed(record, run_id):
    return msgspec.structs.replace(record, run_id=run_id)


def test_the_file_that_the_configuration_names_wins_and_the_other_is_told(results):
    record = make_record()
    write_record(results, renamed(record, "a-older-name"))
    write_record(results, renamed(record, "zz-older-name"))
    write_record(results, record)
    records, complaints = read_records(results)
    assert records == [record]
    assert sorted(complaint.partition(": ")[0] for complaint in complaints) == [
        str(record_path(results, name)) for name in ("a-older-name", "zz-older-name")
    ]


def test_a_file_wins_over_a_line_and_two_lines_of_one_run_are_told_apart(results):
    old, new = make_record(success=0.5), make_record(success=0.75)
    lines = [msgspec.json.encode(record) for record in (old, old, make_record(success=0.25))]
    (results / PACKED).write_bytes(b"\n".join(lines))
    records, complaints = read_records(results)
    assert records == [old]
    assert complaints == [f"{results / PACKED}, line 3: another record of a run that an earlier line holds"]
    write_record(results, new)
    assert read_records(results)[0] == [new]


def test_whatever_is_no_record_is_set_aside_byte_by_byte(results):
    good, packed = make_record(), make_record("lstm")
    write_record(results, packed)
    pack_records(results)
    record_path(results, packed.run_id).unlink()
    write_record(results, good)
    with (results / PACKED).open("ab") as file:
        file.write(b'{"torn": ')  # as of a machine that stopped
    (runs_folder(results) / "torn.json").write_bytes(b'{"run_id": "x')
    (runs_folder(results) / "folder.json").mkdir()
    (runs_folder(results) / "notes.txt").write_text("mine")
    (results / SET_ASIDE).mkdir()
    (results / SET_ASIDE / "torn.json").write_text("of yesterday")
    said = set_aside_faults(results)
    assert len(said) == 3 and all(sentence.startswith("set aside: ") for sentence in said)
    assert read_records(results) == ([good, packed], [])
    assert content(results / SET_ASIDE) == {
        Path("torn.json"): b"of yesterday",
        Path("torn.json.1"): b'{"run_id": "x',
        Path(PACKED): b'{"torn": \n',
    }
    assert (results / SET_ASIDE / "folder.json").is_dir()
    assert (runs_folder(results) / "notes.txt").read_text() == "mine"
    assert set_aside_faults(results) == []


def test_a_packed_file_torn_at_every_byte_loses_one_line_at_most(results):
    for seed in range(2):
        write_record(results, make_record(seed=seed, steps=2_000))
    packed = pack_records(results)
    whole = packed.read_bytes()
    first = whole.index(b"\n")
    for record in read_records(results)[0]:
        record_path(results, record.run_id).unlink()
    for length in range(first + 2, len(whole) - 1, 7):
        packed.write_bytes(whole[:length])
        records, complaints = read_records(results)
        assert len(records) == 1 and "line 2: not a record of membench" in complaints[0]


def test_another_schema_is_read_where_it_can_be_and_else_named(results):
    path = write_record(results, make_record())
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"schema_version": 1}))
    assert len(read_records(results)[0]) == 1
    path.write_text(json.dumps(record | {"schema_version": 99, "new_field": 1}))
    records, complaints = read_records(results)
    assert not records and "key 'new_field': unknown" in complaints[0]
    assert complaints[0].endswith("its schema_version is 99, ours 2")


def test_a_record_whose_clock_was_set_back_is_no_less_a_record(results):
    record = make_record(seconds=-3_600.0, seconds_to_solved=-1.0, finished_at="1970-01-01T00:00:00+00:00")
    write_record(results, record)
    assert read_records(results) == ([record], [])


SUITE = TINY_SUITE.replace("seeds = 2", "seeds = 1").replace(
    'architectures = ["gru", "lstm"]', 'architectures = ["gru"]'
)
SUITE = SUITE.partition("[[profiles.quick.cells]]\ntask.horizon = 2")[0]


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def test_a_damaged_record_and_plan_are_set_aside_by_run_and_named_by_report(
    membench, suite, tmp_path, monkeypatch
):
    monkeypatch.setattr("membench.report.figures_for", lambda frame: {})  # they take long
    results = tmp_path / "out"
    arguments = ["run", "--suite", suite, "--out", results, "--jobs", 1]
    assert membench(*arguments)[0] == 0
    (damaged,) = runs_folder(results).glob("*.json")
    damaged.write_bytes(damaged.read_bytes()[:100])
    (results / "plan.json").write_text("{")
    before = content(results)
    for command, expected in (("report", 2), ("status", 0)):
        code, _, err = membench(command, results)
        assert code == expected and str(damaged) in err and "plan.json: not a plan of membench" in err
    assert content(results) == before
    code, _, err = membench(*arguments)
    assert code == 0, err
    assert f"it lies in {results / SET_ASIDE / damaged.name} now" in err
    assert f"it lies in {results / SET_ASIDE / 'plan.json'} now" in err
    assert (results / SET_ASIDE / damaged.name).stat().st_size == 100
    assert len(read_records(results)[0]) == 1 and read_plan(results) is not None


def test_a_record_that_was_made_otherwise_counts_is_told_and_can_be_refreshed(
    membench, suite, tmp_path, monkeypatch
):
    monkeypatch.setattr("membench.report.figures_for", lambda frame: {})
    arguments = ["run", "--suite", suite, "--out", tmp_path, "--jobs", 1]
    membench(*arguments)
    (record,) = read_records(tmp_path)[0]
    assert {"membench", "torch", "code"} <= record.versions.keys()
    assert "of other code" not in membench(*arguments)[2]
    write_record(tmp_path, msgspec.structs.replace(record, versions=record.versions | {"torch": "1.0"}))
    _, _, err = membench(*arguments)
    assert "1 run is there already, 0 to do" in err
    assert "1 of them is of other code or libraries (for example torch 1.0, here 2" in err
    membench(*arguments, "--refresh")
    assert read_records(tmp_path)[0][0].versions == record.versions


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"steps": 62_656, "steps_to_solved": 54_208, "seconds": 47.2},
            "solved gru, horizon 10, seed 0: at 54,208 steps; success 1.000 after 62,656 steps, 47 s",
        ),
        (
            {"status": "unsolved", "success": 0.25},
            "unsolved gru, horizon 10, seed 0: success 0.250 after 20,000 steps, 20 s",
        ),
        (
            {"status": "diverged", "success": None, "steps_to_solved": 54_208},
            "diverged gru, horizon 10, seed 0: success - after 20,000 steps, 20 s",
        ),
        ({"status": "failed", "error": "one\ntwo"}, "failed gru, horizon 10, seed 0: one two"),
    ],
    ids=lambda value: value.get("status", "solved") if isinstance(value, dict) else "",
)
def test_one_line_says_how_a_run_ended(fields, told):
    assert describe_outcome(make_record(**fields)) == told


def limit_files(num_bytes):
    """Let this process write no file beyond so many bytes: what a full disk does, without one."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    return soft, hard


def test_a_full_disk_costs_nothing_that_is_there(results):
    first = write_record(results, make_record())
    before = content(results)
    limits = limit_files(1_000)
    try:
        with pytest.raises(OSError, match="File too large"):
            write_record(results, make_record(success=0.5))
        with pytest.raises(OSError, match="File too large"):
            pack_records(results)
        with pytest.raises(OSError, match="File too large"):
            write_plan(results, Plan(suite="x" * 2_000, profile="", question="", command="", configs=[]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(results) == before and first.exists()


@pytest.fixture
def small_disk(tmp_path_factory):
    """Give a function that mounts a disk of a size, or mounts it anew with another one; it takes root."""
    place = tmp_path_factory.mktemp("disk")

    def mount(size, how="rw"):
        options = f"size={size},{how},mode=700" + (",remount" if place.is_mount() else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system of a few kilobytes can be mounted here; it takes root")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up_keeps_every_record_before(small_disk):
    make_results_folder(disk := small_disk("64k"))
    written = []
    with pytest.raises(OSError, match="No space left on device"):
        while True:
            write_record(disk, record := make_record(seed=len(written)))
            written.append(record)
    records, complaints = read_records(disk)
    assert sorted(record.seed for record in records) == list(range(len(written))) and written
    assert complaints == []


def test_a_run_whose_checkpoint_finds_no_room_goes_on_when_there_is(small_disk):
    config = small_config(total_timesteps=640)
    make_results_folder(disk := small_disk("40k"))  # a checkpoint takes more

    def run():
        return run_all([config], disk, on_change=lambda standing: None, care=Care(checkpoint_seconds=1e-9))

    with pytest.raises(OSError, match="No space left on device"):
        run()
    assert read_records(disk) == ([], []) and not list(disk.glob("checkpoints/*"))
    small_disk("4m")
    (record,) = run()
    (written,) = read_records(disk)[0]
    assert record.status != "failed" and without_timings(written) == without_timings(train(config))


@pytest.mark.parametrize("room", [1_000, 20_000], ids=["not the record", "half the weights"])
def test_a_disk_that_is_full_ends_a_command_with_one_line(room, tmp_path):
    command = [sys.executable, "-m", "membench", "train", "--architecture", "gru", "--horizon", "1"]
    command += ["--total-timesteps", "100", "--set", "memory.hidden_size=64", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        command,
        preexec_fn=lambda: limit_files(room),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and done.stderr.strip().count("\n") == 0
    assert "File too large" in done.stderr and "this goes on: membench train" in done.stderr
    assert read_records(tmp_path / "out") == ([], []) and not list(tmp_path.glob("out/runs/*"))


@pytest.mark.parametrize("command", ["train", "run", "tune"])
def test_a_folder_that_cannot_be_written_to_is_one_line(command, membench, suite, tmp_path):
    (tmp_path / "in-the-way").write_text("")
    arguments = {
        "train": ["--architecture", "gru", "--horizon", 1],
        "run": ["--suite", suite],
        "tune": ["gru"],
    }[command]
    code, out, err = membench(command, *arguments, "--out", tmp_path / "in-the-way")
    assert (code, out, err.count("\n")) == (2, "", 1) and "cannot write there" in err


def test_a_file_system_without_locks_is_one_line(membench, suite, tmp_path, monkeypatch):
    def no_locks(file, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    code, out, err = membench("run", "--suite", suite, "--out", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1) and "cannot lock files (No locks available)" in err


def test_a_read_only_folder_is_one_line_for_who_writes_and_none_for_who_reads(
    membench, results, suite, small_disk
):
    if os.geteuid() == 0:  # who may write to any folder, but not to a read-only disk
        results = small_disk("1m")
        make_results_folder(results)
    write_record(results, make_record())
    results.chmod(0o500)
    if os.geteuid() == 0:
        small_disk("1m", "ro")
    before = content(results)
    try:
        assert membench("status", results)[0] == 0
        code, out, err = membench("run", "--suite", suite, "--out", results)
        assert (code, out, err.count("\n")) == (2, "", 1) and "cannot write there" in err
    finally:
        if os.geteuid() == 0:
            small_disk("1m", "rw")
        results.chmod(0o700)
    assert content(results) == before


def test_packing_refuses_what_it_would_drop(results):
    write_record(results, make_record())
    (runs_folder(results) / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"x\.json: not a record of membench"):
        pack_records(results)
