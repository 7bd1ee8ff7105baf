"""What the README shows works as it stands there."""

import re
import textwrap
from pathlib import Path

from membench.check import check_architecture


def test_the_memory_of_one_s_own_obeys_every_law(tmp_path, monkeypatch):
    readme = Path("README.md").read_text()
    block = re.search(r"^    # my_memory\.py\n(?:(?:    .*)?\n)+", readme, re.MULTILINE)
    assert block is not None
    (tmp_path / "my_memory.py").write_text(textwrap.dedent(block[0]))
    monkeypatch.syspath_prepend(str(tmp_path))
    results = check_architecture("my_memory:RunningMean")
    assert [result for result in results if not result.passed] == []


def test_every_command_that_it_names_exists():
    from membench.cli import main

    commands = set(re.findall(r"^    membench (\w+)", Path("README.md").read_text(), re.MULTILINE))
    assert commands <= main.commands.keys() and len(commands) > 4
