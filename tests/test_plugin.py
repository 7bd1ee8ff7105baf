"""The worked example of a plugin, installed as a user installs it: `examples/plugin`."""

import json
import shutil
import site
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from membench.records import read_records

EXAMPLE = Path("examples/plugin")
ENTRY_POINTS = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
((NAME, TARGET),) = ENTRY_POINTS["membench.architectures"].items()
MODULE = EXAMPLE / f"{TARGET.split(':')[0]}.py"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Run the Python of an environment with everything that is installed here, and the plugin."""
    folder = tmp_path_factory.mktemp("plugin")
    environment = folder / "environment"
    create = [sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", environment]
    subprocess.run(create, check=True, timeout=120)

    def call(*arguments):
        return subprocess.run(
            [environment / "bin" / "python", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    # `addsitedir`, for a path in a .pth file is searched, but .pth files in there, as editable installs
    # have them, are not read.
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    packages = call("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    (Path(packages) / "everything_installed_here.pth").write_text("\n".join(lines))

    shutil.copytree(EXAMPLE, folder / "source")  # a build may leave files beside what it builds
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    installed = call("-m", "pip", "install", *offline, folder / "source")
    assert installed.returncode == 0, installed.stderr
    return call


def test_it_is_listed_by_its_name(python):
    listed = python("-m", "membench", "list", "architectures", "--json")
    assert listed.returncode == 0, listed.stderr
    assert {"name": NAME, "class": TARGET} in json.loads(listed.stdout)


def test_it_obeys_every_law(python):
    checked = python("-m", "membench", "check", NAME)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_suite_trains_it_in_worker_processes(python, tmp_path):
    settings = ("--set", "task.horizon=2", "--set", "total_timesteps=200")
    trained = python(
        *("-m", "membench", "run", "--suite", "horizons", "--architectures", NAME, "--seeds", "1"),
        *(*settings, "--out", tmp_path),
    )
    assert trained.returncode == 0, trained.stderr
    (record,), complaints = read_records(tmp_path)
    assert (record.architecture, record.status, complaints) == (NAME, "unsolved", [])


def test_the_module_is_short():
    assert len(MODULE.read_text().splitlines()) <= 40
