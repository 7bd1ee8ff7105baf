"""The tasks: what is shown, what is asked, what is scored; an oracle and a memoryless agent bracket it."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from membench.config import TaskConfig
from membench.envs import NO_QUESTION, TASKS, OpenLoopTask, OpenLoopVectorEnv, make_task
from membench.errors import InputError

OPEN_LOOP = [name for name, task in TASKS.items() if issubclass(task, OpenLoopTask)]


def vector_env(num_envs=8, autoreset_mode=AutoresetMode.DISABLED, discrete=True, **options):
    task = make_task(TaskConfig(**options))
    return task.vector_env(num_envs, discrete=discrete, autoreset_mode=autoreset_mode)


def play(envs, seed, answer):
    """Step one episode per environment; `answer` maps the observations so far [b t i] to answers [b]."""
    seen = [envs.reset(seed=seed)[0]]
    rewards, infos = [], []
    for _ in range(envs.task.max_episode_steps):
        observation, reward, terminated, truncated, info = envs.step(answer(np.stack(seen, axis=1)))
        assert not truncated.any()
        seen.append(observation)
        rewards.append(reward)
        infos.append(info)
    assert terminated.all()
    return np.stack(seen[:-1], axis=1), np.stack(rewards, axis=1), infos


def oracle(seen):
    """Answer from perfect memory: at the k-th query, the cue shown at step k."""
    if seen.shape[2] == 4:
        return seen[:, 0].argmax(-1)
    num_asked = int(seen[0, :, -1].sum())
    return seen[:, max(0, num_asked - 1), :4].argmax(-1)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("num_items", [1, 3])
@pytest.mark.parametrize("name", OPEN_LOOP)
def test_gymnasium_accepts_the_environment(name, num_items, discrete):
    env = gymnasium.make(name, horizon=3, num_items=num_items, discrete=discrete)
    check_env(env.unwrapped)


def test_an_episode_is_the_one_that_the_document_draws():
    env = gymnasium.make("CueMemory-v0", horizon=20)
    observation, _ = env.reset(seed=3)
    cue = int(observation.argmax())
    assert observation.tolist() == np.eye(4)[cue].tolist()
    for step in range(22):
        answer = np.eye(4)[cue] * 0.3 - 5
        observation, reward, terminated, truncated, info = env.step(answer)
        assert not observation.any()
        assert (reward, terminated, truncated) == ((1.0, True, False) if step == 21 else (0.0, False, False))
        assert info == ({"correct": True} if step == 21 else {})
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.unwrapped.step(answer)


def test_items_are_shown_and_asked_in_order():
    envs = vector_env(horizon=2, num_items=3)
    episodes = envs.draw_episodes(seed=0)
    assert episodes.observations.shape == (8, 8, 5)
    np.testing.assert_array_equal(episodes.observations[:, :3, :4].argmax(-1), episodes.targets[:, 5:])
    np.testing.assert_array_equal(episodes.observations[..., 4], np.tile([0, 0, 0, 0, 0, 1, 1, 1], (8, 1)))
    assert not episodes.observations[:, 3:, :4].any()
    assert (episodes.targets[:, :5] == NO_QUESTION).all()
    assert envs.task.recall_gap == 5  # shown at step k, asked at step k + 5


@pytest.mark.parametrize("num_items", [1, 3])
def test_an_oracle_scores_the_maximum(num_items):
    envs = vector_env(num_envs=64, horizon=4, num_items=num_items)
    _, rewards, infos = play(envs, 0, oracle)
    np.testing.assert_array_equal(rewards.sum(1), num_items)
    assert sum(info["_correct"].sum() for info in infos) == 64 * num_items
    assert all((info["correct"] >= info["_correct"]).all() for info in infos)


def test_a_memoryless_agent_is_at_chance():
    envs = vector_env(num_envs=20_000, horizon=4)
    _, rewards, _ = play(envs, 0, lambda seen: np.full(len(seen), 2))
    # Four standard errors of a share of 1/4 over 20,000 episodes.
    assert abs(rewards.sum(1).mean() - envs.task.chance) < 4 * np.sqrt(0.25 * 0.75 / 20_000)


def test_rewards_are_settable():
    envs = vector_env(num_envs=50, horizon=1, reward_correct=10.0, reward_wrong=-1.0)
    _, rewards, _ = play(envs, 0, lambda seen: np.zeros(len(seen), dtype=int))
    assert not rewards[:, :-1].any()
    assert set(rewards[:, -1]) == {10.0, -1.0}


@pytest.mark.parametrize("num_items", [1, 2])
def test_open_loop_gives_the_episodes_that_stepping_gives(num_items):
    envs = vector_env(horizon=5, num_items=num_items)
    seen, rewards, _ = play(envs, 7, oracle)
    episodes = envs.draw_episodes(seed=7)
    np.testing.assert_array_equal(seen, episodes.observations)
    np.testing.assert_array_equal(rewards, episodes.is_question)


def test_make_vec_reaches_the_native_environment_and_it_resets_itself():
    envs = gymnasium.make_vec("CueMemory-v0", num_envs=3, horizon=1, discrete=True)
    assert isinstance(envs, OpenLoopVectorEnv)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    envs.reset(seed=0)
    for _ in range(2):
        observations, *_ = envs.step(np.zeros(3, dtype=int))
    observations, _, terminated, _, infos = envs.step(np.zeros(3, dtype=int))
    assert terminated.all() and infos["_final_obs"].all()
    assert not infos["final_obs"].any()
    np.testing.assert_array_equal(observations.sum(1), 1)  # the next episode's cue


def test_a_finished_environment_waits_for_its_reset_when_autoreset_is_off():
    envs = vector_env(num_envs=4, horizon=0)
    envs.reset(seed=0)
    envs.step(np.zeros(4, dtype=int))
    observations, *_ = envs.step(np.zeros(4, dtype=int))
    assert not observations.any()
    mask = np.array([True, False, True, False])
    observations, _ = envs.reset(options={"reset_mask": mask})
    np.testing.assert_array_equal(observations.any(1), mask)


def test_seeds_decide_the_cues():
    def cues(seed):
        return vector_env(num_envs=64).draw_episodes(seed).targets[:, -1].tolist()

    assert cues(1) == cues(1) != cues(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": -3}, "horizon"),
        ({"num_cues": 1}, "num_cues"),
        ({"horizont": 3}, "did you mean 'horizon'"),
        ({"num_items": 1.5}, "num_items"),
    ],
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(InputError, match=message):
        gymnasium.make("CueMemory-v0", **options)


def test_unsupported_autoreset_is_refused():
    with pytest.raises(InputError, match="SAME_STEP or DISABLED"):
        vector_env(autoreset_mode=AutoresetMode.NEXT_STEP)


def recall_task(**options):
    return make_task(TaskConfig(name="AssociativeRecall-v0", num_items=3, **options))


def test_every_key_is_shown_once_and_one_is_asked():
    episodes = recall_task(horizon=2).draw(np.random.default_rng(0), 200)
    pairs, query = episodes.observations[:, :3], episodes.observations[:, -1]
    assert episodes.observations.shape == (200, 6, 3 + 4 + 1)
    np.testing.assert_array_equal(pairs[..., :3].sum(1), 1)  # every key once
    np.testing.assert_array_equal(pairs[..., 3:7].sum(2), 1)  # one value per pair
    assert not episodes.observations[:, 3:5].any() and not pairs[..., 7].any()
    np.testing.assert_array_equal(query[:, :3].sum(1), 1)
    assert not query[:, 3:7].any() and query[:, 7].all()
    assert len({tuple(row) for row in pairs[..., :3].argmax(2)}) == 6  # all orders
    assert (episodes.targets[:, :-1] == NO_QUESTION).all()


def test_the_answer_is_the_value_shown_with_the_asked_key():
    envs = vector_env(num_envs=64, name="AssociativeRecall-v0", horizon=4, num_items=3)

    def look_up(seen):
        asked = seen[:, -1, :3].argmax(1)
        shown_at = seen[:, :3, :3].argmax(2) == asked[:, None]
        return (seen[:, :3, 3:7] * shown_at[..., None]).sum(1).argmax(1) if seen.shape[1] == 8 else asked

    _, rewards, _ = play(envs, 0, look_up)
    np.testing.assert_array_equal(rewards.sum(1), 1)


def test_a_memory_that_forgets_the_keys_is_at_chance_level_on_one_pair_in_three():
    """Answering the value of the first pair is right when that is asked, and by chance otherwise."""
    envs = vector_env(num_envs=20_000, name="AssociativeRecall-v0", horizon=0, num_items=3)
    _, rewards, _ = play(envs, 0, lambda seen: seen[:, 0, 3:7].argmax(1))
    expected = 1 / 3 + 2 / 3 / 4
    assert abs(rewards.sum(1).mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)


@pytest.mark.parametrize("name", OPEN_LOOP)
def test_a_revealed_cue_is_the_answer_at_the_query(name):
    task = make_task(TaskConfig(name=name, num_items=2, horizon=3, reveal_cue=True, query_flag=True))
    episodes = task.draw(np.random.default_rng(0), 50)
    first = task.observation_size - 1 - task.num_actions
    shown = episodes.observations[:, -task.num_questions :, first:-1]
    np.testing.assert_array_equal(shown.argmax(-1), episodes.targets[:, -task.num_questions :])


@pytest.mark.parametrize("name", ["CueMemory-v0", "AssociativeRecall-v0"])
def test_noise_fills_the_delay_and_nothing_else(name):
    options = {"name": name, "num_items": 2, "horizon": 40, "query_flag": True}
    noisy = make_task(TaskConfig(**options, observation_noise=0.5))
    observations = noisy.draw(np.random.default_rng(0), 100).observations
    delay = observations[:, 2 : -noisy.num_questions]
    assert delay.shape[1] == 40
    assert abs(delay.std() - 0.5) < 0.01
    assert set(np.unique(observations[:, :2])) == {0.0, 1.0}
    assert set(np.unique(observations[:, -noisy.num_questions :])) <= {0.0, 1.0}
    assert noisy.vector_env(1).single_observation_space.contains(observations[0, 5])


def test_a_query_flag_stands_at_the_query_only():
    episodes = make_task(TaskConfig(horizon=3, query_flag=True)).draw(np.random.default_rng(0), 5)
    np.testing.assert_array_equal(episodes.observations[..., -1], np.tile([0, 0, 0, 0, 1], (5, 1)))


@pytest.mark.parametrize("name", OPEN_LOOP)
def test_a_step_says_afterwards_what_was_right(name):
    envs = vector_env(name=name, horizon=1, num_items=2)
    targets = envs.draw_episodes(seed=3).targets
    _, _, infos = play(envs, 3, lambda seen: np.zeros(len(seen), dtype=int))
    np.testing.assert_array_equal(np.stack([info["target"] for info in infos], axis=1), targets)
