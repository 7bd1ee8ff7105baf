"""Side by side with what people would use instead: sb3-contrib's RecurrentPPO on the same work.

The work: 32 environments of cue memory at horizon 20, one episode each per rollout, 4 epochs of 4
minibatches of 8 episodes, LSTM 256. sb3-contrib cuts the first and last sequence at a minibatch's border,
which changes its work little and its gradients much. Rounds of all systems alternate, so that whatever else
the machine does meets each alike.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from msgspec import Struct

from membench.config import build_config
from membench.errors import InputError

HORIZON, NUM_ENVS, NUM_EPOCHS, NUM_MINIBATCHES, HIDDEN_SIZE = 20, 32, 4, 4, 256
NUM_STEPS = NUM_ENVS * (HORIZON + 2)


class PeerCost(Struct, frozen=True, kw_only=True):
    """What an iteration of one system costs."""

    system: str
    parameters: int
    seconds: list[float]
    """Of every timed iteration: a rollout and the update on it."""

    @property
    def steps_per_second(self) -> float:
        """Of the median iteration."""
        return NUM_STEPS / median(self.seconds)


def compare_with_peers(num_rounds: int) -> list[PeerCost]:
    """Time iterations of membench's GRU and LSTM and of RecurrentPPO, in turns, on one thread.

    Raises:
        InputError: where sb3-contrib is not installed.
    """
    import torch

    from membench.allocator import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    systems = [
        _membench("gru"),
        _membench("lstm"),
        _recurrent_ppo(
            "RecurrentPPO, shared LSTM", n_lstm_layers=1, shared_lstm=True, enable_critic_lstm=False
        ),
        _recurrent_ppo("RecurrentPPO, as it comes: LSTMs for actor and critic", n_lstm_layers=1),
    ]
    seconds: list[list[float]] = [[] for _ in systems]
    for _ in range(num_rounds + 1):  # the first warms up
        for (_, _, iterate), taken in zip(systems, seconds, strict=True):
            started = time.perf_counter()
            iterate()
            taken.append(time.perf_counter() - started)
    return [
        PeerCost(system=name, parameters=parameters, seconds=taken[1:])
        for (name, parameters, _), taken in zip(systems, seconds, strict=True)
    ]


System = tuple[str, int, Callable[[], object]]
"""A name, its parameters, and what does one iteration."""


def _membench(architecture: str) -> System:
    from membench.describe import count_parameters
    from membench.training import Training

    config = build_config(
        {
            "architecture": architecture,
            "memory": {"hidden_size": HIDDEN_SIZE, "num_layers": 1},
            "task": {"horizon": HORIZON},
            "ppo": {
                "num_envs": NUM_ENVS,
                "num_epochs": NUM_EPOCHS,
                "num_minibatches": NUM_MINIBATCHES,
            },
        }
    )
    training = Training(config, time.time())
    parameters = count_parameters(training.agent)["total"]
    return f"membench, {architecture}", parameters, training.iterate


def _recurrent_ppo(name: str, **policy: Any) -> System:
    try:
        from sb3_contrib import RecurrentPPO
        from stable_baselines3.common.vec_env import DummyVecEnv
    except ImportError as error:
        raise InputError(f"--peers: needs sb3-contrib (pip install 'membench[peers]'); {error}") from error
    model = RecurrentPPO(
        "MlpLstmPolicy",
        DummyVecEnv([_SteppedCueMemory] * NUM_ENVS),
        n_steps=HORIZON + 2,
        n_epochs=NUM_EPOCHS,
        batch_size=NUM_STEPS // NUM_MINIBATCHES,
        device="cpu",
        policy_kwargs={"lstm_hidden_size": HIDDEN_SIZE, **policy},
    )
    parameters = sum(p.numel() for p in model.policy.parameters())
    return name, parameters, lambda: model.learn(NUM_STEPS, reset_num_timesteps=False)


class _SteppedCueMemory(gymnasium.Env):
    """Cue memory for one environment, as lean as a stepped one can be."""

    observation_space = spaces.Box(0.0, 1.0, (4,), np.float32)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.step_number, self.cue = 0, int(self.np_random.integers(4))
        return np.eye(4, dtype=np.float32)[self.cue], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        is_query = self.step_number == HORIZON + 1
        self.step_number += 1
        return np.zeros(4, np.float32), float(is_query and int(action) == self.cue), is_query, False, {}
