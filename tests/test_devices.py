"""Where a run computes: what is not there is named, and one precision holds for every memory."""

import pytest
import torch

from membench.config import build_config
from membench.devices import check_device, denormals_as_zero, prepare_process
from membench.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_devices_that_are_there_are_legal(two_gpus):
    for device in ("cpu", "cuda", "cuda:0", "cuda:1"):
        check_device(device)


def test_a_device_that_is_not_there_is_named_beside_those_that_are(two_gpus):
    with pytest.raises(InputError, match=r"device 'cuda:2': .*legal: cpu, cuda:0, cuda:1\)"):
        check_device("cuda:2")


def test_what_fades_to_nothing_is_zero_for_a_while_for_denormal_numbers_are_slow():
    faded = torch.tensor([1e-38])
    with denormals_as_zero():
        assert (faded * 1e-3).item() == 0
        with denormals_as_zero():
            pass
        assert (faded * 1e-3).item() == 0
    assert (faded * 1e-3).item() > 0


def test_float32_is_float32_in_cudnn_too(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    prepare_process(build_config({"architecture": "lstm"}))
    assert not torch.backends.cudnn.allow_tf32
