"""CONTRIBUTING's recipe for an architecture, followed to the letter in a copy of the packages."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("architectures", "membench", "suites")
TEXT = Path("CONTRIBUTING.md").read_text()
RECIPE = TEXT[TEXT.index("## Add an architecture") : TEXT.index("## Add a suite")]


def blocks(language):
    """Return the recipe's fenced blocks, without the indentation of the list that they stand in."""
    fenced = re.findall(rf"^   ```{language}\n(.*?)^   ```$", RECIPE, re.DOTALL | re.MULTILINE)
    return [re.sub("^   ", "", block, flags=re.MULTILINE) for block in fenced]


MODULE = re.findall(r"Write the file `(.+?)`", RECIPE)[0]
TABLE = re.findall(r"Add one line to the table in `(.+?)`", RECIPE)[0]
SOURCE, LINE = blocks("python")
CHECK, LIST = blocks("sh")[0].splitlines()
NAME = Path(MODULE).stem


def contents(folder):
    """Return the content of every file of the packages in `folder`, by its path from there."""
    paths = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.parent.name != "__pycache__"
    }


def copy_packages(folder):
    for package in PACKAGES:
        shutil.copytree(package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))


def follow(folder):
    """Write what the recipe shows where it says so."""
    assert not (folder / MODULE).exists(), "a built-in memory now: the recipe needs another example"
    (folder / MODULE).write_text(SOURCE)
    before, brace, after = (folder / TABLE).read_text().rpartition("}")
    (folder / TABLE).write_text(before + LINE + brace + after)


def run(folder, *arguments):
    """Run Python on the packages in `folder`; return standard output."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_file_and_a_line_make_an_architecture(tmp_path):
    copy_packages(tmp_path)
    before = contents(tmp_path)
    follow(tmp_path)

    names = ", ".join(PACKAGES)
    places = run(tmp_path, "-c", f"import {names}\nfor package in ({names}): print(package.__file__)")
    assert places.split() == [str(tmp_path / package / "__init__.py") for package in PACKAGES]

    assert NAME in CHECK
    run(tmp_path, "-m", *shlex.split(CHECK))
    listed = run(tmp_path, "-m", *shlex.split(LIST))
    assert re.search(rf"\b{NAME} +architectures\.{NAME}:\w+", listed)

    after = contents(tmp_path)
    assert after.keys() - before.keys() == {MODULE}
    assert {path for path in before if before[path] != after.get(path)} == {TABLE}
    assert after[TABLE].replace(LINE.encode(), b"") == before[TABLE]
