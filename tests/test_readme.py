"""What the README and the guide show works as it stands there."""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from test_report import make_record

from membench.check import check_architecture
from membench.folders import make_results_folder
from membench.records import read_records, write_record

README = Path("README.md").read_text()
GUIDE = Path("docs/how-it-works.md").read_text()


@pytest.fixture
def my_memory(tmp_path):
    """Return a folder that holds nothing but the memory of one's own."""
    block = re.search(r"^    # my_memory\.py\n(?:(?:    .*)?\n)+", README, re.MULTILINE)
    assert block is not None
    (tmp_path / "my_memory.py").write_text(textwrap.dedent(block[0]))
    return tmp_path


def test_the_memory_of_one_s_own_obeys_every_law(my_memory, monkeypatch):
    monkeypatch.syspath_prepend(str(my_memory))
    results = check_architecture("my_memory:RunningMean")
    assert [result for result in results if not result.passed] == []


def test_the_memory_of_one_s_own_is_trained_in_worker_processes_from_its_folder(my_memory):
    shown = re.search(r"^    membench (run .*my_memory:RunningMean)$", README, re.MULTILINE)
    assert shown is not None
    small = ("--seeds", "1", "--set", "task.horizon=2", "--set", "total_timesteps=200", "--out", "out")
    # -P, for the script `membench` has not the working directory on its path either.
    command = [sys.executable, "-P", "-m", "membench", *shlex.split(shown[1]), *small]
    done = subprocess.run(command, cwd=my_memory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "my_memory:RunningMean" in done.stdout
    statuses = {record.architecture: record.status for record in read_records(my_memory / "out")[0]}
    assert statuses == {"gru": "unsolved", "my_memory:RunningMean": "unsolved"}  # neither failed


def test_what_is_shown_from_python_runs(my_memory):
    """Each block by itself, in a folder with the memory of one's own and the results of a run."""
    record = make_record("lstm", horizon=20, success=0.75)
    make_results_folder(my_memory / "results" / "horizons")
    write_record(my_memory / "results" / "horizons", record)
    section = GUIDE.partition("\n## From Python\n")[2].partition("\n## ")[0]
    blocks = [
        textwrap.dedent(block) for block in re.findall(r"(?:^(?:    .*)?\n)*^    .*\n", section, re.MULTILINE)
    ]
    said = [
        subprocess.run(
            [sys.executable, "-c", block.replace("20_000", "500")],
            cwd=my_memory,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        for block in blocks
    ]
    laws, run, read = said
    assert all(line.endswith(" holds") for line in laws.splitlines()) and "causality" in laws
    assert "gru" in run and "unsolved" in run and "train_success" in run
    assert "lstm    0.75" in read


def test_every_command_that_it_names_exists():
    from membench.cli import main

    commands = set(re.findall(r"^    membench (\w+)", README, re.MULTILINE))
    assert commands <= main.commands.keys() and len(commands) > 4
