"""Horizons that change during a run: the ladder and the curriculum."""

from itertools import pairwise

import msgspec
import pytest
import torch
from test_train import small_config, without_timings

from membench.config import build_config, merge, nest, to_settings
from membench.envs import make_task
from membench.errors import InputError
from membench.ladder import LadderTraining
from membench.ppo import DivergenceError
from membench.schedules import stage_horizon
from membench.train import load_agent, train
from membench.training import Training

CLIMBER = {
    "ladder": True,
    "task": {"horizon": 1},
    "ppo": {"learning_rate": 5e-3},
    "total_timesteps": 12_000,
}


def run_to_the_end(training):
    training.run(lambda progress: None)
    return training


@pytest.fixture(scope="module")
def climbed():
    return train(small_config(**CLIMBER))


def test_a_ladder_doubles_what_it_solves(climbed):
    horizons = [rung.horizon for rung in climbed.rungs]
    assert len(horizons) >= 3
    assert horizons == [2**k for k in range(len(horizons))]
    assert climbed.frontier == horizons[-1]
    assert climbed.horizon == 2 * climbed.frontier  # the rung tried last
    assert climbed.recall_gap == climbed.frontier + 1
    assert climbed.status == "solved" and climbed.success >= 0.9
    assert climbed.train_success == climbed.sampled_success
    assert (climbed.steps_to_solved, climbed.seconds_to_solved) == (
        climbed.rungs[-1].steps,
        climbed.rungs[-1].seconds,
    )


def test_every_rung_was_solved_by_two_evaluations_in_a_row(climbed):
    for rung in climbed.rungs:
        at_rung = [point for point in climbed.curve if point.horizon == rung.horizon]
        assert [point.success >= 0.95 for point in at_rung[-2:]] == [True, True]
        assert at_rung[-1].steps == rung.steps
        assert not any(a.success >= 0.95 and b.success >= 0.95 for a, b in pairwise(at_rung[:-1]))


def test_a_ladder_keeps_within_its_budget_and_charges_no_evaluation(climbed):
    next_rollout = 32 * (climbed.horizon + 2)
    assert 12_000 - next_rollout < climbed.steps <= 12_000
    assert climbed.evaluation_steps > 0


def test_a_ladder_is_reproducible(climbed):
    def plain(record):
        fields = without_timings(record)
        for rung in fields["rungs"]:
            del rung["seconds"]
        return fields

    assert plain(train(small_config(**CLIMBER))) == plain(climbed)


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_the_saved_weights_are_those_that_solved_the_frontier(architecture, tmp_path):
    config = small_config(**CLIMBER, architecture=architecture)
    record = train(config, weights=tmp_path / "weights.pt")
    agent = load_agent(config, tmp_path / "weights.pt")
    task = make_task(msgspec.structs.replace(config.task, horizon=record.frontier))
    agent.make_room_for(task)
    cues = torch.zeros(4, record.frontier + 2, 4)
    cues[:, 0] = torch.eye(4)
    with torch.no_grad():
        answers = agent.evaluate(cues)[0][:, -1].argmax(-1)
        state, stepped = agent.initial_state(4), None
        for observations in cues.unbind(1):
            stepped, *_, state, _ = agent(observations, state, torch.zeros(4, 4))
    assert answers.tolist() == stepped.tolist() == [0, 1, 2, 3]


def test_without_a_solved_rung_there_is_no_frontier():
    record = train(small_config(**CLIMBER | {"total_timesteps": 2_000, "task": {"horizon": 30}}))
    assert (record.frontier, record.rungs, record.status) == (None, [], "unsolved")
    assert record.success < 0.95


def test_a_ladder_that_diverges_keeps_its_frontier(monkeypatch):
    training = LadderTraining(small_config(**CLIMBER), 0.0)
    learn = training._learn

    def learn_until_the_third_rung(rollout, progress):
        if training.frontier == 2:
            raise DivergenceError("planted")
        return learn(rollout, progress)

    monkeypatch.setattr(training, "_learn", learn_until_the_third_rung)
    with pytest.raises(DivergenceError):
        run_to_the_end(training)
    assert training.frontier == 2
    assert training.finish().success >= 0.9


CURRICULUM = [{"horizon": 1, "timesteps": 500}, {"horizon": 3, "timesteps": 1_500}]


def test_a_curriculum_trains_at_each_horizon_in_turn_and_examines_at_the_last():
    config = small_config(curriculum=CURRICULUM)
    training = Training(config, 0.0)
    seen = []
    learn = training._learn

    def note(rollout, progress):
        seen.append((training.steps, rollout.mask.shape[1] - 2))
        return learn(rollout, progress)

    training._learn = note
    run_to_the_end(training)
    assert seen == [(steps, 1 if steps < 500 else 3) for steps, _ in seen]
    assert {horizon for _, horizon in seen} == {1, 3}
    assert training.evaluation_steps == len(training.curve) * 128 * 5


def test_a_curriculum_s_sampled_answers_count_at_the_horizon_that_is_to_be_solved():
    """Who is told the answer is right at once, and the run goes on to the last stage all the same."""
    stages = [{"horizon": 1, "timesteps": 3_000}, {"horizon": 3, "timesteps": 9_000}]
    told = {"task": {"reveal_cue": True}, "ppo": {"learning_rate": 1e-2}}
    record = train(small_config(**told, curriculum=stages, total_timesteps=12_000))
    assert record.steps_to_solved < 3_000 < record.steps_to_sampled_95 <= record.steps
    assert record.curve[-1].horizon == 3 and record.sampled_success > 0.9


def test_a_curriculum_may_end_with_shorter_episodes_than_it_began_with():
    stages = [{"horizon": 9, "timesteps": 1_000}, {"horizon": 3, "timesteps": 1_000}]
    record = train(small_config(architecture="transformer", curriculum=stages))
    assert [point.horizon for point in record.curve][0::3] == [9, 3]


def test_state_and_operations_are_those_of_the_task_alone():
    """Longer tests of the policy and a rung above the frontier make the room for a cache larger."""
    plain, examined = (
        train(small_config(architecture="transformer", evaluation={"horizons": horizons}))
        for horizons in ([], [40])
    )
    assert (examined.state_bytes, examined.flops_per_step) == (plain.state_bytes, plain.flops_per_step)
    small, large = (
        train(small_config(**CLIMBER | {"architecture": "transformer", "total_timesteps": budget}))
        for budget in (200, 12_000)
    )
    assert large.frontier > 1 and small.frontier is None
    assert large.flops_per_step == small.flops_per_step
    assert large.state_bytes < large.frontier * small.state_bytes


def test_a_ladder_outgrows_the_context_length_that_it_was_given():
    settings = CLIMBER | {"architecture": "transformer", "memory": {"context_length": 4}}
    record = train(small_config(**settings))
    assert record.frontier > 1 and record.status == "solved"


def test_stages_by_steps():
    stages = build_config(merge(to_settings(small_config()), {"curriculum": CURRICULUM})).curriculum
    assert [stage_horizon(stages, steps) for steps in (0, 499, 500, 1_999, 2_000, 9_999)] == [
        1,
        1,
        3,
        3,
        3,
        3,
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curriculum": CURRICULUM, "ladder": True}, "must not both"),
        ({"curriculum": CURRICULUM, "total_timesteps": 3_000}, "must be the sum over the curriculum, 2000"),
        (
            {"curriculum": CURRICULUM, "task": {"horizon": 4}},
            "task.horizon 4.*must be the curriculum's last, 3",
        ),
        (merge({"ladder": True}, nest("task.horizon", 0)), "at least 1"),
    ],
)
def test_what_does_not_fit_together_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        small_config(**settings)


def test_a_budget_without_room_for_a_rollout_is_an_error():
    with pytest.raises(InputError, match="total_timesteps 95: a ladder from horizon 1 needs at least 96"):
        train(small_config(**CLIMBER | {"total_timesteps": 95}))
