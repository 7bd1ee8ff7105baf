"""The active T-maze: what is seen depends on what is done."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from membench.agent import build_agent
from membench.config import RunConfig, TaskConfig
from membench.diagnosis import diagnose
from membench.envs import make_task
from membench.errors import InputError
from membench.rollout import collect, draw_noise

HORIZON = 4
FORWARD, BACK = 0, 4


def make_mazes(num_envs, autoreset_mode=AutoresetMode.DISABLED, **options):
    task = make_task(TaskConfig(**({"name": "ActiveTMaze-v0", "horizon": HORIZON} | options)))
    return task.vector_env(num_envs, discrete=True, autoreset_mode=autoreset_mode)


def walk(envs, choose, seed=0):
    """Step until every episode has ended; `choose` maps what was seen so far [b t i] to actions [b].

    Returns each episode's reward [b], whether it was right [b], and its length [b].
    """
    seen = [envs.reset(seed=seed)[0]]
    total, right, length = np.zeros(envs.num_envs), np.zeros(envs.num_envs), np.zeros(envs.num_envs)
    running = np.ones(envs.num_envs, dtype=bool)
    while running.any():
        observations, rewards, terminated, truncated, infos = envs.step(choose(np.stack(seen, axis=1)))
        seen.append(observations)
        total += rewards
        right += infos["correct"] & infos["_correct"]
        length += running
        np.testing.assert_array_equal(infos["_correct"], terminated | truncated)
        running &= ~(terminated | truncated)
    return total, right, length


def remembering(seen):
    """Go back first, then forward, and into the arm that the sign named."""
    if seen.shape[1] == 1:
        return np.full(len(seen), BACK)
    return seen[:, 1, :4].argmax(-1)


def test_a_walk_by_hand():
    env = gymnasium.make("ActiveTMaze-v0", horizon=1, num_cues=2, discrete=True)
    start, _ = env.reset(seed=0)
    at_sign = env.step(2)[0]
    at_wall = env.step(2)[0]
    start_again = env.step(0)[0]
    at_junction = env.step(1)[0]
    in_corridor = env.step(2)[0]
    back_at_junction = env.step(0)[0]
    arm = int(at_sign[:2].argmax())
    assert at_sign.tolist() == [*np.eye(2)[arm], 0]
    assert at_wall.tolist() == at_sign.tolist()
    assert at_junction.tolist() == back_at_junction.tolist() == [0, 0, 1]
    assert start.tolist() == start_again.tolist() == in_corridor.tolist() == [0, 0, 0]
    observation, reward, terminated, truncated, info = env.step(arm)
    assert (observation.tolist(), reward, terminated, truncated, info) == (
        [0, 0, 0],
        1.0,
        True,
        False,
        {"correct": True},
    )
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)


def test_who_seeks_the_sign_and_remembers_it_is_always_right_by_the_shortest_way():
    envs = make_mazes(200)
    rewards, right, lengths = walk(envs, remembering)
    assert rewards.tolist() == right.tolist() == [1.0] * 200
    assert lengths.tolist() == [HORIZON + 3] * 200
    # The sign is seen at step 1, and the answer given at step HORIZON + 2.
    assert envs.task.recall_gap == HORIZON + 1
    assert envs.task.max_episode_steps == 2 * (HORIZON + 3)


@pytest.mark.parametrize("arm", range(4))
def test_who_does_not_seek_the_sign_is_at_chance(arm):
    envs = make_mazes(4000)
    _, right, lengths = walk(envs, lambda seen: np.full(len(seen), arm))
    assert abs(right.mean() - envs.task.chance) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    assert set(lengths) == {HORIZON + 1}


def test_who_forgets_the_sign_is_at_chance_unless_the_junction_reveals_it():
    def forgetting(seen):
        if seen.shape[1] == 1:
            return np.full(len(seen), BACK)
        return seen[:, -1, :4].argmax(-1)

    assert walk(make_mazes(4000), forgetting)[1].mean() == pytest.approx(0.25, abs=0.03)
    assert walk(make_mazes(100, reveal_cue=True), forgetting)[1].mean() == 1.0


def test_who_never_chooses_runs_out_of_time_and_counts_as_wrong_without_a_reward():
    envs = make_mazes(3, reward_wrong=-1.0)
    rewards, right, lengths = walk(envs, lambda seen: np.full(len(seen), BACK))
    assert rewards.tolist() == right.tolist() == [0.0, 0.0, 0.0]
    assert lengths.tolist() == [14.0] * 3
    assert envs.step(np.full(3, BACK))[4]["_correct"].tolist() == [False] * 3


def test_running_out_of_time_is_an_end_lest_never_to_answer_cost_nothing():
    envs = make_mazes(2, horizon=0)
    envs.reset(seed=0)
    ends = [envs.step(np.full(2, BACK))[2:4] for _ in range(envs.task.max_episode_steps)]
    assert [terminated.tolist() for terminated, _ in ends] == [[False, False]] * 5 + [[True, True]]
    assert not any(truncated.any() for _, truncated in ends)


def test_a_wrong_arm_earns_what_the_task_says():
    envs = make_mazes(50, reward_wrong=-0.5, reward_correct=2.0)
    rewards, right, _ = walk(envs, lambda seen: np.full(len(seen), 1))
    np.testing.assert_array_equal(rewards, np.where(right, 2.0, -0.5))


def test_mazes_that_reset_themselves_begin_anew_one_by_one():
    envs = make_mazes(2, AutoresetMode.SAME_STEP, horizon=0)
    envs.reset(seed=0)
    envs.step(np.array([FORWARD, BACK]))
    # The junction is cell 1: the first chose an arm at once, the second stands before the sign.
    observations, _, terminated, _, infos = envs.step(np.array([FORWARD, FORWARD]))
    assert terminated.tolist() == [True, False]
    assert infos["final_obs"][0].tolist() == [0.0] * 5
    assert observations[:, -1].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("discrete", [False, True])
def test_gymnasium_accepts_the_environment(discrete):
    check_env(gymnasium.make("ActiveTMaze-v0", horizon=3, discrete=discrete).unwrapped)


def test_a_rollout_scores_what_was_acted_and_bootstraps_nobody():
    task = make_task(TaskConfig(name="ActiveTMaze-v0", horizon=HORIZON))
    config = RunConfig(architecture="gru", memory={"hidden_size": 8}, task=task.config)
    torch.manual_seed(0)
    agent = build_agent(config, task)
    envs = task.vector_env(64, discrete=True, autoreset_mode=AutoresetMode.DISABLED)
    rollout = collect(agent, envs, seed=0, noise=draw_noise(agent, envs, torch.Generator().manual_seed(0)))
    rows, last = torch.arange(64), rollout.mask.sum(1) - 1
    chose = (rollout.observations[rows, last, -1] == 1) & (rollout.actions[rows, last] != BACK)
    assert rollout.asked.nonzero().tolist() == torch.stack([rows, last], dim=1).tolist()
    assert torch.equal(rollout.correct.sum(1), rollout.rewards.sum(1).long())
    assert (last[~chose] == task.max_episode_steps - 1).all()
    assert 0 < (~chose).sum() < 64
    assert not rollout.bootstrap.any()
    outputs, values = agent.evaluate(rollout.observations)
    again = agent.head.log_prob(outputs, rollout.actions)
    torch.testing.assert_close(again[rollout.mask], rollout.log_probs[rollout.mask])
    torch.testing.assert_close(values[rollout.mask], rollout.values[rollout.mask])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num_items", 2),
        ("min_horizon", 1),
        ("distractors", 0.5),
        ("reward_delay", 3),
        ("observation_noise", 0.1),
    ],
)
def test_options_without_a_meaning_are_refused(option, value):
    with pytest.raises(InputError, match=f"task.{option} {value}: ActiveTMaze-v0 has no use for it"):
        make_mazes(1, **{option: value})


def test_it_cannot_be_diagnosed_before_training():
    with pytest.raises(InputError, match=r"task.name 'ActiveTMaze-v0': what it shows depends on actions"):
        diagnose(RunConfig(architecture="gru", task=TaskConfig(name="ActiveTMaze-v0")))
