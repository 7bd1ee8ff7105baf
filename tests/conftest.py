"""One thread per test process: results are then reproducible, and workers do not fight for cores."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
