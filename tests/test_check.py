"""`membench check` on memories that are sound, faulty, or cannot be run at all."""

import json
import random

import numpy as np
import pytest
import torch

from membench import cli
from membench.check import LawResult, check_architecture, examine_law
from membench.laws import HARNESS_LAWS, LAWS
from membench.laws.surroundings import read_generators, read_settings

LEAKY = """
import torch
from torch import nn
from membench.memory import Memory


class Leaky(Memory):
    def __init__(self, input_size, *, hidden_size: int = 4):
        super().__init__(input_size, hidden_size)
        self.project = nn.Linear(input_size, hidden_size)

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        h, outputs = state["hidden"], []
        for value in self.project(x).unbind(1):
            h = torch.tanh(0.9 * h + value + FAULT)
            outputs.append(h)
        return torch.stack(outputs, 1), {"hidden": h}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Check `Leaky` with a term planted in it: the exit code and what is printed."""

    def call(name, fault, *options):
        (tmp_path / f"{name}.py").write_text(LEAKY.replace("FAULT", fault))
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as exit_:
            cli.main(["check", f"{name}:Leaky", *options])
        return exit_.value.code or 0, capsys.readouterr().out

    return call


def test_a_sound_memory_of_one_s_own_passes(check):
    code, out = check("sound", "0")
    assert code == 0
    assert out.count("holds") == len(LAWS | HARNESS_LAWS)
    assert "BROKEN" not in out and "Begin with" not in out


def test_a_broken_law_is_told_with_its_case_and_its_meaning(check):
    code, out = check("mixing", "h.mean(0)")
    assert code == 1
    told = " ".join(out.split())
    assert "row independence BROKEN rows with (0, 0, 0, 0) steps behind them, 3 times step" in told
    assert "Usually: a mean, norm, sort or reshape over the batch axis" in told
    assert "causality holds" in told
    assert "Begin with" not in told  # several laws are broken, and none of them is a cause


@pytest.mark.parametrize(
    ("name", "fault", "first"),
    [
        ("noisy", "1e-4 * torch.randn_like(h)", "purity"),
        ("dropping", "nn.functional.dropout(h, 0.1)", "purity"),
        ("writing", "x.data.mul_(0.5).mean()", "purity"),
        ("remembering", "(self.__dict__.update(n=0.01 + self.__dict__.get('n', 0)) or self.n)", "purity"),
        ("raising_always", "nothing", "state shape"),
    ],
)
def test_the_cause_comes_first_where_much_is_broken(check, name, fault, first):
    _, out = check(name, fault)
    assert next(line for line in out.splitlines() if "BROKEN" in line).startswith(first)
    assert out.endswith(f"Begin with {first}: what else is broken may follow from it.\n")


def test_an_error_is_told_with_its_line(check):
    code, out = check("raising", "torch.zeros(3)")
    assert code == 1
    told = " ".join(out.split())
    assert "RuntimeError: The size of tensor a (16) must" in told
    line = LEAKY[: LEAKY.index("FAULT")].count("\n") + 1
    assert f"(raising.py, line {line})" in told


def test_json_is_one_object(check):
    code, out = check("machine_read", "h.mean(0)", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["architecture"], found["passed"]) == ("machine_read:Leaky", False)
    assert [law["name"] for law in found["laws"]] == [*LAWS, *HARNESS_LAWS]
    assert all(law.keys() == {"name", "passed", "detail"} for law in found["laws"])
    assert all(bool(law["detail"]) != law["passed"] for law in found["laws"])


def test_a_sound_memory_passes_with_options_of_the_user():
    results = check_architecture("gru", {"hidden_size": 3, "num_layers": 1})
    assert [result.name for result in results] == [*LAWS, *HARNESS_LAWS]
    assert all(result.passed for result in results)


def test_an_error_in_building_is_a_broken_law():
    def build():
        raise RuntimeError("no such weight")

    result = examine_law("dtype", LAWS["dtype"], build)
    assert result.name == "dtype" and not result.passed
    assert result.detail.startswith(
        "the law could not be tried: RuntimeError: no such weight (test_check.py, line"
    )


def test_what_a_law_does_to_the_process_is_undone():
    def law(build):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(2)
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002

    before = read_settings(), read_generators()
    assert examine_law("any", law, lambda: None) == LawResult("any", True)
    assert (read_settings(), read_generators()) == before
