"""A memory of the user's that fails is named in one line, with what it was asked for and where; no traceback.

And what it prints stays out of the JSON.
"""

import json
import subprocess
import sys

import pytest

from membench.records import read_records

MEMORIES = """
from torch import nn
from membench.memory import Memory


class Sound(Memory):
    def __init__(self, input_size, *, hidden_size: int = 8):
        super().__init__(input_size, hidden_size)
        self.layer = nn.GRU(input_size, hidden_size, batch_first=True)
        print("a word of its own", flush=True)

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        print("another", flush=True)
        y, hidden = self.layer(x, state["hidden"].unsqueeze(0))
        return y, {"hidden": hidden[0]}


class CannotBeBuilt(Sound):
    def __init__(self, input_size, *, hidden_size: int = 8):
        super().__init__(input_size, hidden_size=hidden_size)
        {}["planted"]


class CannotBegin(Sound):
    def initial_state(self, batch_size):
        raise KeyError("planted")


class CannotGoOn(Sound):
    def forward(self, x, state, *, trace=None):
        return self.helper(x)

    def helper(self, x):
        raise KeyError("planted")


class ForgetsTheState(Sound):
    def forward(self, x, state, *, trace=None):
        return super().forward(x, state)[0]


class HasNoInitialisation(Sound):
    initialisations = ()
"""

BENCH = ("bench", "--horizons", "2", "--rounds", "1", "--steps-per-iteration", "8", "--architectures")
TRAIN = ("train", "--horizon", "2", "--total-timesteps", "32", "--architecture")

MESSAGES = {
    "CannotBeBuilt": r"cannot be built with {'hidden_size': 8} (KeyError: 'planted' (planted.py, line 24))",
    "CannotBegin": "initial_state raised KeyError: 'planted' (planted.py, line 29); membench check",
    "CannotGoOn": "forward raised KeyError: 'planted' (planted.py, line 37); membench check",
    "ForgetsTheState": "what it returned raised ",
}


@pytest.fixture
def in_folder(membench, tmp_path, monkeypatch):
    """Run a command in a folder that holds the memories above."""
    (tmp_path / "planted.py").write_text(MEMORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return membench


@pytest.mark.parametrize(
    ("command", "memories"),
    [
        (("describe",), MESSAGES),
        (("diagnose",), MESSAGES),
        (BENCH, MESSAGES),
        (TRAIN, ["CannotBeBuilt"]),
    ],
    ids=lambda part: part[0] if isinstance(part, tuple) else "",
)
def test_a_memory_that_fails_is_named_with_the_place(in_folder, command, memories):
    for name in memories:
        code, _, err = in_folder(*command, f"planted:{name}", "--set", "memory.hidden_size=8")
        assert code == 2
        assert f"membench: memory of 'planted:{name}': {MESSAGES[name]}" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CannotBeBuilt", "memory of 'planted:CannotBeBuilt': cannot be built with {'hidden_size': "),
        (
            "HasNoInitialisation",
            "architecture 'planted:HasNoInitialisation': initialisations (): must be from",
        ),
    ],
)
def test_a_memory_that_cannot_be_tuned_is_named(in_folder, name, message):
    code, _, err = in_folder("tune", f"planted:{name}")
    assert code == 2 and err.startswith(f"membench: {message}")


@pytest.mark.parametrize("name", ["CannotBegin", "CannotGoOn"])
def test_a_run_of_a_memory_that_fails_is_recorded(in_folder, tmp_path, name):
    code, *_ = in_folder(*TRAIN, f"planted:{name}", "--out", tmp_path / "out")
    (record,), _ = read_records(tmp_path / "out")
    assert (code, record.status) == (1, "failed") and "KeyError: 'planted'" in record.error


@pytest.mark.parametrize(
    "command", [("describe",), ("diagnose", "--horizons", "2"), TRAIN], ids=lambda command: command[0]
)
def test_json_is_all_that_comes_to_standard_output(in_folder, command):
    code, out, err = in_folder(*command, "planted:Sound", "--json")
    assert code == 0 and isinstance(json.loads(out), dict)
    assert "a word of its own" in err


def test_json_is_all_that_a_command_with_processes_of_its_own_puts_out(in_folder, tmp_path):
    command = [sys.executable, "-m", "membench", *BENCH, "planted:Sound", "--set", "memory.hidden_size=8"]
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert json.loads(done.stdout)["costs"][0]["num_steps"] == 8
    assert "another" in done.stderr
