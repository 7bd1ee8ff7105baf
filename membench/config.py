"""What a run is asked to do: `RunConfig` and its parts, frozen, typed, validated, serialisable.

Every configuration enters through `build_config`, whatever it comes from: a suite file, a preset, a
record or the command line. Defaults are those of the suites; the deep dive's own values are the preset `doc`.
"""

import hashlib
import re
import sys
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from membench.errors import InputError
from membench.validation import check_finite, explain

Settings: TypeAlias = dict[str, Any]
"""Nested fields of a `RunConfig`, some or all of them."""

DEFAULTS_VERSION = 1
"""To be raised whenever a default changes, so that runs with the old and the new one have different names."""

PositiveInt = Annotated[int, Meta(ge=1, le=10**12)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=10**12)]
Delay = Annotated[int, Meta(ge=0, le=10**9)]
"""Steps; what records count of longer episodes would not stay within the bound of other numbers."""

LargestFloat = sys.float_info.max
"""What bounds a number that is bounded by nothing else: msgspec takes infinity for a float."""

FiniteFloat = Annotated[float, Meta(ge=-LargestFloat, le=LargestFloat)]
PositiveFloat = Annotated[float, Meta(gt=0, le=LargestFloat)]
NonNegativeFloat = Annotated[float, Meta(ge=0, le=LargestFloat)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


MOST_PARTS = 10_000
LARGEST_SIZE = 1_000_000
"""Of a memory's options, `num_...` and others: what is beyond is a slip, and would be built for ever."""


class TaskConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The memory task; see `membench.envs`."""

    name: str = "CueMemory-v0"
    horizon: Delay = 20
    """Steps of the delay, between the cues that an episode begins with and the first query."""
    min_horizon: Delay | None = None
    """Draw each episode's delay uniformly from this to `horizon`, and flag the query; None: all `horizon`."""
    num_cues: Annotated[int, Meta(ge=2, le=10_000)] = 4
    """Different cues; chance is 1 / num_cues."""
    num_items: Annotated[int, Meta(ge=1, le=10_000)] = 1
    """Cues shown one after another; in `AssociativeRecall-v0`, key-value pairs; in `SelectiveRecall-v0`,
    those that are marked."""
    query_flag: bool = False
    """Flag the query by a feature of its own even where the task does not need it."""
    observation_noise: NonNegativeFloat = 0.0
    """Standard deviation of Gaussian noise on every feature of every delay step."""
    distractors: Fraction = 0.0
    """Probability that a step of the delay shows a cue, or a key-value pair, that does not count."""
    reveal_cue: bool = False
    """Show the right answer at the query: privileged, the ceiling of whatever surrounds the memory."""
    reward_correct: FiniteFloat = 1.0
    reward_wrong: FiniteFloat = 0.0
    reward_delay: Delay = 0
    """Steps from an answer to its reward; the episode goes on until the last one has come."""


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What surrounds the memory."""

    head: Literal["categorical", "gaussian"] = "categorical"
    """Read the policy head's outputs as logits, or as the mean of a Gaussian whose argmax answers."""
    observation_scale: PositiveFloat = 20.0
    """Observations are multiplied by this; the same for every memory."""


class PPOConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347) on whole episodes."""

    num_envs: PositiveInt = 32
    """Environments; each contributes one whole episode to a rollout."""
    num_epochs: PositiveInt = 4
    num_minibatches: PositiveInt = 1
    """Parts that a rollout's episodes are dealt into; gradients run through whole episodes."""
    learning_rate: PositiveFloat = 3e-3
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "constant"
    weight_decay: NonNegativeFloat = 0.0
    discount: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip_range: PositiveFloat = 0.2
    value_coefficient: NonNegativeFloat = 0.5
    entropy_start: NonNegativeFloat = 0.01
    entropy_end: NonNegativeFloat = 0.01
    """The entropy coefficient is annealed geometrically from start to end; equal means constant."""
    max_grad_norm: NonNegativeFloat = 1.0
    """A gradient with a larger norm is scaled down to this; 0 leaves it as it is."""
    steps_per_backward: PositiveInt = 2**17
    """Steps whose gradient is computed at once, one episode at least; a minibatch with more goes a few
    episodes at a time, under PPO and when told the answers. Changes results by rounding only."""


EVALUATIONS_IN_A_ROW = 2
"""So many must reach `solved_at`, one right after another, for a run or a rung to count as solved."""


class EvaluationConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When and how the greedy policy is examined. Evaluation steps are recorded, not charged."""

    interval: PositiveInt = 2_000
    """Training steps between evaluations."""
    num_episodes: PositiveInt = 128
    solved_at: Annotated[float, Meta(gt=0, le=1)] = 0.95
    """Success at two evaluations in a row that counts as solved."""
    stop_when_solved: bool = True
    """End the run at the first evaluation at which the latest two are that good and 95 % of the sampled
    answers of the last 320 training episodes were right: a greedy policy is right before the sampled is."""
    num_final_episodes: PositiveInt = 1_000
    """Fresh episodes after training that `success` is measured on."""
    horizons: list[Delay] = []
    """Horizons to examine the final policy at, without training there, on as many fresh episodes each."""


class ComputeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a memory is computed. But for `precision`, all of it changes results by rounding only."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the memory's matrix products, by autocast; parameters, heads and losses stay in float32."""
    compile: bool = False
    """Train through `torch.compile`; acting step by step is left as it is. Needs a C++ compiler on a CPU."""
    steps_per_checkpoint: PositiveInt | None = None
    """Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): keep the states between segments of so
    many steps, and compute the activations in between again on the way back; None keeps all. A Transformer's
    state is its whole cache, so that for it segments cost more than they save."""


class MAMLConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of the objective `maml`; see `membench.maml`."""

    num_tasks: PositiveInt = 8
    """Mappings per outer update."""
    num_support_episodes: PositiveInt = 16
    """Episodes that weights are adapted on."""
    num_query_episodes: PositiveInt = 16
    """Episodes that adapted weights are judged by."""
    num_inner_steps: NonNegativeInt = 5
    """Gradient steps that adapt; without any, nothing can be known of a mapping."""
    inner_learning_rate: PositiveFloat = 0.5


class Stage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a curriculum: train at `horizon` for `timesteps`."""

    horizon: Delay
    timesteps: PositiveInt


class RunConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that determines a run's result on a given machine."""

    architecture: Annotated[str, Meta(min_length=1, max_length=200)]
    """A built-in or plugin name, or `module:Class`."""
    memory: dict[str, Any] = {}
    """The architecture's options; those not named keep the class's defaults."""
    matched_parameters: PositiveInt | None = None
    """How many parameters the memory's sizes were chosen for; None if they were not chosen for that."""
    task: TaskConfig = TaskConfig()
    objective: Literal["ppo", "supervised", "maml"] = "ppo"
    """Learn from rewards; be told the answers: cross-entropy at the questions, privileged; or, told them too,
    learn to adapt to answers that go by names of their own in every task of a distribution."""
    agent: AgentConfig = AgentConfig()
    ppo: PPOConfig = PPOConfig()
    maml: MAMLConfig = MAMLConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    compute: ComputeConfig = ComputeConfig()
    total_timesteps: PositiveInt = 150_000
    """Environment steps to train for at most, rounded up to whole rollouts."""
    curriculum: list[Stage] = []
    """Horizons to train at one after another, the last of them `task.horizon`; always examined at that one.
    The stages' timesteps add up to `total_timesteps`."""
    ladder: bool = False
    """Begin at `task.horizon` and double it whenever it is solved, until the budget is spent."""
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    device: Annotated[
        str, Meta(pattern=r"^(cpu|cuda(:[0-9]{1,3})?)\Z", description="cpu, cuda, or cuda:N as in cuda:0")
    ] = "cpu"
    num_threads: Annotated[int, Meta(ge=1, le=1024)] = 1

    def __post_init__(self) -> None:
        check_finite(self.memory, "memory")
        for option, value in self.memory.items():
            most = MOST_PARTS if option.startswith("num_") else LARGEST_SIZE
            if isinstance(value, int) and value > most:
                raise ValueError(f"memory.{option} {value}: must be at most {most:,}")
        if self.ppo.num_minibatches > self.ppo.num_envs:
            raise ValueError(
                f"ppo.num_minibatches {self.ppo.num_minibatches}: must be at most "
                f"ppo.num_envs {self.ppo.num_envs}"
            )
        if (self.ppo.entropy_start == 0) != (self.ppo.entropy_end == 0):
            raise ValueError(
                "ppo.entropy_start and ppo.entropy_end: geometric annealing needs both positive or both zero"
            )
        if self.matched_parameters is not None and "hidden_size" not in self.memory:
            raise ValueError(
                f"matched_parameters {self.matched_parameters}: is noted beside the memory.hidden_size that "
                "--match-parameters chooses; there is none"
            )
        if self.objective == "maml" and (self.ladder or self.curriculum or self.evaluation.horizons):
            raise ValueError(
                "objective 'maml': must not be set beside a ladder, a curriculum or evaluation.horizons"
            )
        if self.curriculum:
            self._check_curriculum()
        if self.ladder and self.task.horizon == 0:
            raise ValueError("task.horizon 0: a ladder doubles it, so it must be at least 1")

    def _check_curriculum(self) -> None:
        if self.ladder:
            raise ValueError("curriculum and ladder: must not both be set")
        if self.curriculum[-1].horizon != self.task.horizon:
            raise ValueError(
                f"task.horizon {self.task.horizon}: must be the curriculum's last, "
                f"{self.curriculum[-1].horizon}"
            )
        timesteps = sum(stage.timesteps for stage in self.curriculum)
        if timesteps != self.total_timesteps:
            raise ValueError(
                f"total_timesteps {self.total_timesteps}: must be the sum over the curriculum, {timesteps}"
            )

    @property
    def run_id(self) -> str:
        """A name for the run: readable in front, and at its end a hash of what departs from the defaults.

        So a field that is added later leaves the names of earlier runs alone.
        """
        defaults = _flat_defaults()
        stated = {
            name: value
            for name, value in flatten(to_settings(self)).items()
            if name not in defaults or defaults[name] != value
        }
        content = msgspec.json.encode([DEFAULTS_VERSION, stated], order="sorted")
        digest = hashlib.sha256(content).hexdigest()[:12]
        readable = re.sub(r"[^A-Za-z0-9_.-]", "_", self.architecture)[:40].lstrip(".")
        return f"{readable}-h{self.task.horizon}-s{self.seed}-{digest}"

    @property
    def label(self) -> str:
        """A short name for people, in progress displays and messages."""
        plain = TaskConfig(name=self.task.name, horizon=self.task.horizon)
        told = [self.task.name] * (self.task.name != TaskConfig().name)
        told += [
            f"{name}={getattr(self.task, name)}"
            for name in TaskConfig.__struct_fields__
            if getattr(self.task, name) != getattr(plain, name)
        ]
        told += [self.objective] * (self.objective != "ppo")
        return ", ".join([self.architecture, f"horizon {self.task.horizon}", *told, f"seed {self.seed}"])


@cache
def _flat_defaults() -> Settings:
    return flatten(to_settings(RunConfig(architecture="")))


def build_config(settings: Settings, *, source: str = "configuration") -> RunConfig:
    """Return the validated `RunConfig` that nested `settings` stand for.

    Raises:
        InputError: naming `source`, the field and what is legal, for an unknown field, a wrong type, a
            value out of range or a number that is not finite.
    """
    try:
        check_finite(settings)
        return msgspec.convert(settings, RunConfig)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {explain(error, settings, RunConfig)}") from None


def to_settings(config: RunConfig) -> Settings:
    """Return the nested settings that `build_config` turns into `config`."""
    return msgspec.to_builtins(config)


def merge(*layers: Settings) -> Settings:
    """Return nested settings in which later layers win over earlier ones, field by field."""
    merged: Settings = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = (
                merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
            )
    return merged


def nest(dotted: str, value: Any) -> Settings:
    """Return the settings {"a": {"b": value}} for the dotted key "a.b"."""
    for key in reversed(dotted.split(".")):
        value = {key: value}
    return value


def flatten(settings: Settings, prefix: str = "") -> Settings:
    """Return nested settings as {"a.b": value}."""
    flat: Settings = {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
