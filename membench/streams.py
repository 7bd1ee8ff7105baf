"""The random streams of a run, and how far each of them has been drawn."""

from typing import Any

import numpy as np
import torch


class SeedStream:
    """Seeds of episodes, one after another."""

    def __init__(self, sequence: np.random.SeedSequence):
        self._random = np.random.default_rng(sequence)

    def __iter__(self) -> "SeedStream":
        return self

    def __next__(self) -> int:
        return int(self._random.integers(2**31))

    def state_dict(self) -> dict[str, Any]:
        """Return how far the stream has been drawn."""
        return dict(self._random.bit_generator.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self._random.bit_generator.state = state


class RandomStreams:
    """Independent random streams of one run; what one of them draws never depends on another."""

    def __init__(self, seed: int):
        names = (
            "initialisation",
            "rollouts",
            "actions",
            "minibatches",
            "evaluations",
            "final",
            "final actions",
        )
        children = dict(zip(names, np.random.SeedSequence(seed).spawn(len(names)), strict=True))
        self.initialisation = int(children["initialisation"].generate_state(1)[0])
        self.rollouts, self.evaluations, self.final = (
            SeedStream(children[name]) for name in ("rollouts", "evaluations", "final")
        )
        self.actions, self.minibatches, self.final_actions = (
            torch.Generator().manual_seed(int(children[name].generate_state(1)[0]))
            for name in ("actions", "minibatches", "final actions")
        )

    def state_dict(self) -> dict[str, Any]:
        """Return how far every stream has been drawn; PyTorch's own too, for a memory may draw from them."""
        streams = {
            name: stream.state_dict() for name, stream in vars(self).items() if isinstance(stream, SeedStream)
        }
        generators = {
            name: stream.get_state()
            for name, stream in vars(self).items()
            if isinstance(stream, torch.Generator)
        }
        own = {"cpu": torch.get_rng_state(), "cuda": []}
        if torch.cuda.is_initialized():
            own["cuda"] = torch.cuda.get_rng_state_all()
        return {"streams": streams, "generators": generators, "pytorch": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        for name, drawn in state["streams"].items():
            getattr(self, name).load_state_dict(drawn)
        for name, drawn in state["generators"].items():
            getattr(self, name).set_state(drawn)
        torch.set_rng_state(state["pytorch"]["cpu"])
        if state["pytorch"]["cuda"]:
            torch.cuda.set_rng_state_all(state["pytorch"]["cuda"])
