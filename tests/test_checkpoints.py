"""An interrupted run that is resumed ends with the same bits; what cannot be trusted is not resumed from."""

import hashlib
import io
import logging
import os
import pickle
import time
from itertools import count

import pytest
import torch
from test_ladder import CLIMBER, CURRICULUM
from test_train import small_config, without_timings
from torch import nn

from membench import describe
from membench.checkpoints import Checkpoint, Interrupted
from membench.config import merge
from membench.ladder import LadderTraining
from membench.memory import Memory
from membench.streams import RandomStreams
from membench.train import train
from membench.training import Training


class Restless(Memory):
    """Has a buffer that every call changes, and draws from PyTorch's own generator."""

    def __init__(self, input_size, *, hidden_size: int = 8, num_layers: int = 1):
        super().__init__(input_size, output_size=hidden_size)
        self.write = nn.Linear(input_size, hidden_size, bias=False)
        self.register_buffer("num_calls", torch.zeros(()))

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        self.num_calls += 1
        sums = self.write(x).cumsum(1) + state["hidden"].unsqueeze(1)
        noise = 1e-3 * torch.randn(sums.shape, device="cpu").to(sums)
        return sums * (1 + 0.01 * self.num_calls) + noise, {"hidden": sums[:, -1]}


SMALLER = {"total_timesteps": 1_200, "evaluation": {"interval": 300, "num_final_episodes": 50}}
KINDS = {
    "plain": {},
    "curriculum": {"curriculum": CURRICULUM, "total_timesteps": 2_000},
    "ladder": CLIMBER | {"total_timesteps": 6_000},
    "ladder of a cache": CLIMBER | {"architecture": "transformer", "total_timesteps": 3_000},
    "supervised": {"objective": "supervised"},
    "schedules and minibatches": {
        "agent": {"head": "gaussian"},
        "ppo": {
            "num_minibatches": 4,
            "entropy_start": 0.05,
            "learning_rate_schedule": "cosine",
            "weight_decay": 0.01,
        },
    },
    "random delays": {"task": {"min_horizon": 1, "distractors": 0.3}},
    "buffers and draws of its own": {"architecture": "test_checkpoints:Restless"},
    "solved": {"task": {"horizon": 1}, "total_timesteps": 40_000},
    **{name: {"architecture": name} for name in ("lstm", "gru_pmm", "mamba")},
}


def config_of(kind):
    return small_config(**merge(SMALLER, KINDS[kind]))


def plain(record):
    fields = without_timings(record)
    for rung in fields["rungs"]:
        del rung["seconds"]
    return fields


def train_with_breaks(config, folder, updates_between, **options):
    """Interrupt a run after every so many updates until it ends; its record and the number of breaks."""
    for num_breaks in count():
        update = count(1)
        checkpoint = Checkpoint(
            folder / "run.pt", config, is_interrupted=lambda update=update: next(update) >= updates_between
        )
        torch.manual_seed(num_breaks)  # whatever another process would have left there
        try:
            return train(config, checkpoint=checkpoint, **options), num_breaks
        except Interrupted:
            pass
    raise AssertionError


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_ends_with_the_same_record_and_weights(kind, tmp_path):
    config = config_of(kind)
    whole = train(config, weights=tmp_path / "whole.pt")
    record, num_breaks = train_with_breaks(config, tmp_path, 3, weights=tmp_path / "broken.pt")
    assert num_breaks >= 2
    assert plain(record) == plain(whole)
    weights = [torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("kind", [Training, LadderTraining])
def test_nothing_that_a_run_has_is_left_out_of_its_state(kind):
    training = kind(small_config(**CLIMBER), 0.0)
    kept = {name.lstrip("_") for name in vars(training)}
    assert kept - {"config", "task", "envs"} == training.state_dict().keys() - {"horizon"}


def test_every_stream_goes_on_where_it_was(tmp_path):
    first, second = RandomStreams(0), RandomStreams(0)

    def draw(streams):
        return [
            *(next(seeds) for seeds in (streams.rollouts, streams.evaluations, streams.final)),
            *(
                int(torch.randint(2**31, (), generator=generator))
                for generator in (streams.actions, streams.minibatches, streams.final_actions, None)
            ),
        ]

    draw(first)
    state, expected = first.state_dict(), draw(first)
    torch.save(state, tmp_path / "streams.pt")
    torch.manual_seed(99)
    second.load_state_dict(torch.load(tmp_path / "streams.pt", weights_only=True))
    assert draw(second) == expected


def test_seconds_are_those_of_all_attempts(tmp_path):
    config = config_of("plain")
    training = Training(config, started=time.time())
    training.usage._earlier = {"seconds": 1e6, "cpu_seconds": 2e6, "peak_memory_bytes": 2**50}
    training.iterate()
    Checkpoint(tmp_path / "run.pt", config).save(training)
    record = train(config, checkpoint=Checkpoint(tmp_path / "run.pt", config))
    assert 1e6 < record.curve[0].seconds < record.seconds < 1e6 + 1e5
    assert 2e6 < record.cpu_seconds < 2e6 + 1e5
    assert record.peak_memory_bytes == 2**50


def test_a_checkpoint_is_written_in_time_and_the_one_before_it_stays_until_then(tmp_path, monkeypatch):
    config = config_of("plain")
    training = Training(config, 0.0)
    path = tmp_path / "run.pt"
    Checkpoint(path, config, seconds=3600).keep(training)
    assert not path.exists()
    Checkpoint(path, config, seconds=0).keep(training)
    complete = path.read_bytes()

    def die(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", die)
    with pytest.raises(KeyboardInterrupt):
        Checkpoint(path, config, seconds=0).keep(training)
    assert path.read_bytes() == complete
    assert list(tmp_path.iterdir()) == [path]


class Evil:
    """What a pickle can do to whoever loads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def malicious_pickle(marker):
    return pickle.dumps({"origin": Evil(str(marker)), "training": {}})


def malicious_torch_file(marker):
    content = io.BytesIO()
    torch.save({"origin": Evil(str(marker)), "training": {}}, content)
    return content.getvalue()


def digested(content):
    return hashlib.blake2b(content, digest_size=32).digest() + content


@pytest.mark.parametrize(
    "plant",
    [
        malicious_pickle,
        malicious_torch_file,
        lambda marker: digested(malicious_pickle(marker)),
        lambda marker: digested(malicious_torch_file(marker)),
        lambda marker: b"",
        lambda marker: b"anything else",
    ],
    ids=["pickle", "torch", "digested pickle", "digested torch", "empty", "noise"],
)
def test_a_planted_checkpoint_runs_nothing_and_is_set_aside(plant, tmp_path, caplog):
    config, marker, path = config_of("plain"), tmp_path / "marker", tmp_path / "run.pt"
    path.write_bytes(plant(marker))
    planted = path.read_bytes()
    record = train(config, checkpoint=Checkpoint(path, config))
    assert not marker.exists()
    assert plain(record) == plain(train(config))
    assert "starts anew: its checkpoint is damaged" in caplog.text
    assert path.with_suffix(".damaged").read_bytes() == planted and not path.exists()


def test_the_plants_do_something_to_a_careless_reader(tmp_path):
    torch.load(io.BytesIO(malicious_torch_file(tmp_path / "torch")), weights_only=False)
    pickle.loads(malicious_pickle(tmp_path / "pickle"))
    assert {path.name for path in tmp_path.iterdir()} == {"torch", "pickle"}


def saved_after_one_update(config, path):
    training = Training(config, 0.0)
    training.iterate()
    Checkpoint(path, config).save(training)
    return training


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:-900] + b"x" + data[-899:]])
def test_a_checkpoint_cut_short_or_with_a_changed_byte_is_noticed(damage, tmp_path, caplog):
    config, path = config_of("plain"), tmp_path / "run.pt"
    saved_after_one_update(config, path)
    path.write_bytes(damage(path.read_bytes()))
    training = Checkpoint(path, config).resume(lambda: Training(config, 0.0))
    assert training.steps == 0 and "not what was written" in caplog.text


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("code", lambda patch: patch.setattr(describe, "CODE_DIGEST", "other")),
        ("torch", lambda patch: patch.setattr(describe, "versions", lambda architecture: {"torch": "0"})),
        (
            "processor",
            lambda patch: patch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "x"),
        ),
    ],
)
def test_a_checkpoint_that_would_end_with_other_bits_is_not_resumed_from(
    what, change, tmp_path, caplog, monkeypatch
):
    config, path = config_of("plain"), tmp_path / "run.pt"
    with caplog.at_level(logging.INFO):
        saved_after_one_update(config, path)
        assert Checkpoint(path, config).resume(lambda: Training(config, 0.0)).steps > 0
        assert "resumed from its checkpoint" in caplog.text
        change(monkeypatch)
        assert Checkpoint(path, config).resume(lambda: Training(config, 0.0)).steps == 0
    assert f"starts anew: its checkpoint is of another {what}" in caplog.text


def test_a_checkpoint_of_another_configuration_is_not_resumed_from(tmp_path, caplog):
    config, other = config_of("plain"), config_of("supervised")
    saved_after_one_update(other, tmp_path / "run.pt")
    training = Checkpoint(tmp_path / "run.pt", config).resume(lambda: Training(config, 0.0))
    assert training.steps == 0 and "of another configuration" in caplog.text
