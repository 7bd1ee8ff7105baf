"""PyTorch's compiler is loaded by what compiles, and by nothing else."""

import subprocess
import sys

import pytest


def run(program):
    """Run a program in a process of its own; what it prints."""
    return subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()


TRAINING = """
import sys
from membench.config import build_config
from membench.train import train

memory = {"hidden_size": 4, "num_layers": 1}
train(
    build_config(
        {"architecture": "gru", "memory": memory, "total_timesteps": 60, "ppo": {"num_envs": 2}}
    )
)
print("torch._dynamo.eval_frame" in sys.modules)
"""

CHECKING = """
import sys
from membench.check import check_architecture

assert all(law.passed for law in check_architecture("gru", {"hidden_size": 3, "num_layers": 1}))
print("torch._dynamo.eval_frame" in sys.modules)
"""

MATCHING = """
import sys
from membench.config import build_config
from membench.sizing import match_parameters

match_parameters(build_config({"architecture": "gru"}), 10_000)
print("torch._dynamo.eval_frame" in sys.modules)
"""


LOOKING_AHEAD = """
import sys
from membench.config import build_config
from membench.execute import check_runnable

check_runnable([build_config({"architecture": "gru"})])
print("torch._dynamo.eval_frame" in sys.modules)
"""


@pytest.mark.parametrize("program", [TRAINING, CHECKING, MATCHING, LOOKING_AHEAD])
def test_nothing_that_does_not_compile_loads_the_compiler(program):
    assert run(program) == ["False"]


@pytest.mark.parametrize(
    "use",
    [
        "double = torch.compile(lambda x: 2 * x, backend='eager')",
        "import torch._dynamo.config; double = torch._dynamo.optimize('eager')(lambda x: 2 * x)",
        "from torch._dynamo import optimize; double = optimize('eager')(lambda x: 2 * x)",
    ],
)
def test_what_compiles_gets_the_real_compiler(use):
    program = f"""
import sys
import torch
from membench.compiler import leave_compiler_out

leave_compiler_out()
{use}
print(float(double(torch.ones(()))), sys.modules["torch._dynamo"].__file__ is not None)
"""
    assert run(program) == ["2.0", "True"]


def test_who_looks_at_every_module_does_not_load_the_compiler():
    program = """
import sys
import torch
from membench.compiler import leave_compiler_out

leave_compiler_out()
import torch.distributed.tensor  # registers operators, for which every module's file is looked up
torch.testing.assert_close(torch.ones(2), torch.ones(2))
print(torch.distributed.tensor.DTensor.__name__, "torch._dynamo.eval_frame" in sys.modules)
"""
    assert run(program) == ["DTensor", "False"]
