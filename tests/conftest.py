"""What all tests share: one thread per test process, and the command line."""

import os

import pytest
import torch

from membench.cli import main


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Results are reproducible, and processes share the cores, what they start included."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def plots(request, monkeypatch):
    """Reports and inspections draw plots unless the nearest marker `plots` says that nobody looks at them."""
    if (marker := request.node.get_closest_marker("plots")) and not marker.kwargs["drawn"]:
        monkeypatch.setattr("membench.report.figures_for", lambda frame: {})
        monkeypatch.setattr("membench.inspect.page.figures_for", lambda found, curve: {})


@pytest.fixture
def membench(capsys):
    """Run a command in this process: its exit code, standard output and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(list(map(str, arguments)))
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return call
