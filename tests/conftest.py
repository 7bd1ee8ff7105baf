"""One thread per test process and what it starts: results are reproducible, and processes share the cores."""

import os

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
