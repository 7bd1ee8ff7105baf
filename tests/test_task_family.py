"""Every task and every option of a task: an oracle is always right, the query alone tells nothing, and the
scalar environment, the vector environment and whole episodes agree."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from membench.config import TaskConfig
from membench.envs import NO_QUESTION, TASKS, TaskEnv, make_task
from membench.errors import InputError
from membench.frame import TASK_COLUMNS

CUES, RECALL, OVERWRITE, SELECTIVE, _ = TASKS
HORIZON = 6

VARIANTS = {
    "one cue": {},
    "one cue, flag, noise": {"query_flag": True, "observation_noise": 0.01},
    "cues": {"num_items": 3},
    "pairs": {"name": RECALL, "num_items": 3},
    "one cue, distractors": {"distractors": 0.5},
    "cues, distractors": {"num_items": 3, "distractors": 1.0},
    "one cue, random delay": {"min_horizon": 0},
    "cues, random delay, distractors": {"num_items": 2, "min_horizon": 3, "distractors": 0.5},
    "pairs, distractors": {"name": RECALL, "num_items": 3, "distractors": 0.5},
    "pairs, random delay": {"name": RECALL, "num_items": 3, "min_horizon": 2},
    "overwrite": {"name": OVERWRITE, "num_items": 3},
    "overwrite at every step": {"name": OVERWRITE, "num_items": HORIZON + 1},
    "overwrite, random delay": {"name": OVERWRITE, "num_items": 3, "min_horizon": 2},
    "overwrite, noise": {"name": OVERWRITE, "num_items": 3, "observation_noise": 0.01},
    "selective, one": {"name": SELECTIVE},
    "selective, three": {"name": SELECTIVE, "num_items": 3},
    "selective, random delay": {"name": SELECTIVE, "num_items": 2, "min_horizon": 0},
    "late reward": {"reward_delay": 4},
    "late rewards": {"num_items": 3, "reward_delay": 1},
    "late reward, random delay": {"name": OVERWRITE, "num_items": 2, "min_horizon": 1, "reward_delay": 3},
}

every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())


def variant_task(options, **more):
    return make_task(TaskConfig(**({"horizon": HORIZON} | options | more)))


def vector_env(task, num_envs, autoreset_mode=AutoresetMode.DISABLED):
    return task.vector_env(num_envs, discrete=True, autoreset_mode=autoreset_mode)


def answer_from_memory(task, seen):
    """Answer from perfect memory of one episode so far, seen [t i]."""
    is_flagged = seen.shape[1] > {CUES: 4, OVERWRITE: 4, SELECTIVE: 5}.get(task.name, 0)
    num_asked = int((seen[:, -1] == 1).sum()) if is_flagged else 1
    if task.name == CUES:
        return seen[max(0, num_asked - 1), :4].argmax()
    if task.name == RECALL:
        key = seen[-1, :3].argmax()
        return next((step[3:7].argmax() for step in seen[:3] if step[key] == 1), 0)
    if task.name == OVERWRITE:
        return next(step[:4].argmax() for step in seen[::-1] if step[:4].max() == 1)
    marked = [step[1:5].argmax() for step in seen if step[0] == 1]
    return marked[num_asked - 1] if 0 < num_asked <= len(marked) else 0


def play(envs, seed, answers_for):
    """Step one episode per environment and return what was seen [b t i], rewards, correct and asked [b t]."""
    seen, columns = [envs.reset(seed=seed)[0]], []
    for _ in range(envs.task.max_episode_steps):
        observations, rewards, _, _, infos = envs.step(answers_for(np.stack(seen, axis=1)))
        seen.append(observations)
        columns.append((rewards, infos["correct"] & infos["_correct"], infos["_correct"]))
    return np.stack(seen[:-1], axis=1), *(np.stack(column, axis=1) for column in zip(*columns, strict=True))


@every_variant
def test_perfect_memory_is_always_right_and_is_paid_when_it_should_be(options):
    task = variant_task(options)
    envs = vector_env(task, 40)
    _, rewards, correct, asked = play(
        envs, 3, lambda seen: np.array([answer_from_memory(task, episode) for episode in seen])
    )
    np.testing.assert_array_equal(correct, asked)
    np.testing.assert_array_equal(asked.sum(1), task.num_questions)
    late = task.config.reward_delay
    assert not rewards[:, :late].any()
    np.testing.assert_array_equal(rewards[:, late:], asked[:, : asked.shape[1] - late])
    np.testing.assert_array_equal(rewards.sum(1), task.num_questions)


@every_variant
def test_what_the_query_shows_is_worth_no_more_than_chance(options):
    """The best answer to every observation at a query, learned from half of the episodes, on the others."""
    task = variant_task(options)
    episodes = task.draw(np.random.default_rng(0), 20_000)
    shown = [observation.tobytes() for observation in episodes.observations[episodes.is_question]]
    answers = episodes.targets[episodes.is_question].tolist()
    half, votes = len(answers) // 2, {}
    for observation, answer in zip(shown[:half], answers[:half], strict=True):
        votes.setdefault(observation, np.zeros(4))[answer] += 1
    right = [
        votes[observation].argmax() == answer
        for observation, answer in zip(shown[half:], answers[half:], strict=True)
    ]
    assert abs(np.mean(right) - task.chance) < 4 * np.sqrt(0.25 * 0.75 / len(right))


@every_variant
def test_scalar_and_vector_environment_and_whole_episodes_agree(options):
    task = variant_task(options, reward_wrong=-0.5)
    env, envs = TaskEnv(task, discrete=True), vector_env(task, 1)
    random = np.random.default_rng(5)
    for seed in range(5):
        episode = envs.draw_episodes(seed)
        length = int(episode.lengths[0])
        answers = random.integers(4, size=(1, task.max_episode_steps))
        expected = task.rewards(answers, episode.targets)
        observation, _ = env.reset(seed=seed)
        observations, _ = envs.reset(seed=seed)
        for step in range(length):
            np.testing.assert_array_equal(observation, episode.observations[0, step])
            np.testing.assert_array_equal(observations, episode.observations[:, step])
            observation, reward, terminated, _, info = env.step(answers[0, step])
            observations, rewards, terminations, _, infos = envs.step(answers[:, step])
            assert reward == rewards[0] == expected[0, step]
            assert terminated == terminations[0] == (step == length - 1)
            assert info == ({"correct": infos["correct"][0]} if infos["_correct"][0] else {})
        assert not expected[:, length:].any()


@pytest.mark.filterwarnings("ignore:.*A Box observation space m")  # noise has no bounds
@every_variant
def test_gymnasium_accepts_the_environment(options):
    options = {"name": CUES, "horizon": HORIZON} | options
    check_env(gymnasium.make(options.pop("name"), **options).unwrapped)


@every_variant
def test_observations_lie_in_their_space_and_padding_is_blank(options):
    task = variant_task(options)
    episodes = task.draw(np.random.default_rng(1), 200)
    space = task.vector_env(1).single_observation_space
    assert all(space.contains(observation) for observation in episodes.observations.reshape(-1, *space.shape))
    outside = np.arange(task.max_episode_steps) >= episodes.lengths[:, None]
    assert not episodes.observations[outside].any()
    assert (episodes.targets[outside] == NO_QUESTION).all()
    last_question = task.max_episode_steps - 1 - episodes.is_question[:, ::-1].argmax(1)
    np.testing.assert_array_equal(episodes.lengths - 1 - last_question, task.config.reward_delay)


def test_delays_are_uniform_and_the_query_is_flagged():
    task = variant_task({"min_horizon": 2})
    episodes = task.draw(np.random.default_rng(0), 5_000)
    delays, counts = np.unique(episodes.lengths - 2, return_counts=True)
    assert delays.tolist() == [2, 3, 4, 5, 6]
    assert abs(counts / 5_000 - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / 5_000)
    np.testing.assert_array_equal(episodes.observations[..., -1] == 1, episodes.is_question)
    assert episodes.observations.sum() == 2 * 5_000  # a cue and a flag each


@pytest.mark.parametrize(
    "options",
    [
        {"num_items": 2, "min_horizon": 3},
        {"name": OVERWRITE, "num_items": 3},
        {"name": SELECTIVE, "num_items": 2},
    ],
    ids=["random delay", "overwrite", "selective"],
)
def test_the_recall_gap_is_the_longest_from_a_cue_to_its_question(options):
    task = variant_task(options)
    episodes = task.draw(np.random.default_rng(0), 2_000)
    gaps = []
    for observations, is_question in zip(episodes.observations, episodes.is_question, strict=True):
        cues = {
            CUES: [0, 1],
            OVERWRITE: observations[:, :4].any(1).nonzero()[0][-1:],
            SELECTIVE: observations[:, 0].nonzero()[0],
        }[task.name]
        gaps.extend(is_question.nonzero()[0] - cues)
    assert max(gaps) == task.recall_gap


@pytest.mark.parametrize(("name", "width"), [(CUES, 4), (RECALL, 2 + 4)])
def test_distractors_fill_their_share_of_the_delay_and_change_nothing_else(name, width):
    options = {"name": name, "num_items": 2, "horizon": 50, "query_flag": True, "reveal_cue": True}
    plain, distracted = (
        variant_task(options, distractors=share).draw(np.random.default_rng(0), 400).observations
        for share in (0.0, 0.3)
    )
    delay = distracted[:, 2:52]
    np.testing.assert_array_equal(distracted[:, :2], plain[:, :2])
    np.testing.assert_array_equal(distracted[:, 52:], plain[:, 52:])
    parts = [delay[..., :4]] if name == CUES else [delay[..., :2], delay[..., 2:6]]
    shown = delay.any(-1)
    assert abs(shown.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / shown.size)
    for part in parts:  # each part of a distractor is one of its symbols, uniformly
        np.testing.assert_array_equal(part.sum(-1), shown)
        shares = part[shown].mean(0)
        assert abs(shares - 1 / len(shares)).max() < 4 * np.sqrt(0.25 / shown.sum())
    assert not delay[..., width:].any()


@pytest.mark.parametrize("options", [{"distractors": 1.0}, {"name": OVERWRITE, "num_items": HORIZON + 1}])
def test_cues_of_the_delay_have_no_noise_on_them(options):
    observations = (
        variant_task(options, observation_noise=0.5).draw(np.random.default_rng(0), 50).observations
    )
    np.testing.assert_array_equal(np.sort(observations[:, :-1]), np.tile([0.0, 0.0, 0.0, 1.0], (50, 7, 1)))


def test_the_first_cue_is_worth_nothing_where_others_overwrite_it():
    episodes = variant_task({"name": OVERWRITE, "num_items": 3}).draw(np.random.default_rng(0), 20_000)
    shown = episodes.observations.any(-1)
    np.testing.assert_array_equal(shown.sum(1), 3)
    later = shown[:, 1:-1].mean(0)  # two of six steps, all of them alike
    assert shown[:, 0].all() and abs(later - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 20_000)
    right = episodes.observations[:, 0].argmax(1) == episodes.targets[:, -1]
    assert abs(right.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)


def test_marks_are_anywhere_and_as_many_as_items():
    episodes = variant_task({"name": SELECTIVE, "num_items": 2}).draw(np.random.default_rng(0), 20_000)
    cues, marks = episodes.observations[:, :8, 1:5], episodes.observations[:, :8, 0]
    np.testing.assert_array_equal(cues.sum(-1), 1)
    np.testing.assert_array_equal(marks.sum(1), 2)
    assert abs(marks.mean(0) - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 20_000)
    assert not episodes.observations[:, 8:, :5].any()


def test_an_environment_that_resets_itself_pays_no_reward_of_the_episode_before():
    task = variant_task({"reward_delay": 3, "horizon": 1})
    envs = vector_env(task, 50, AutoresetMode.SAME_STEP)
    observations, _ = envs.reset(seed=0)
    for _ in range(3):
        cues = observations.argmax(1)
        paid = []
        for _ in range(task.max_episode_steps):
            observations, rewards, terminated, _, _ = envs.step(cues)
            paid.append(rewards)
        assert terminated.all()
        np.testing.assert_array_equal(np.stack(paid), [[0.0] * 50] * 5 + [[1.0] * 50])


def test_without_new_options_the_same_seed_draws_the_same_cues_as_ever():
    task = make_task(TaskConfig(horizon=3, num_items=2, observation_noise=0.5))
    found, random = task.draw(np.random.default_rng(4), 5), np.random.default_rng(4)
    cues = random.integers(4, size=(5, 2))
    expected = np.zeros((5, 7, 5), dtype=np.float32)
    expected[:, 2:5] = np.float32(0.5) * random.standard_normal((5, 3, 5), dtype=np.float32)
    expected[:, :2, :4] = np.eye(4)[cues]
    expected[:, 5:, 4] = 1
    np.testing.assert_array_equal(found.observations, expected)
    np.testing.assert_array_equal(found.targets[:, 5:], cues)


def test_without_new_options_the_same_seed_draws_the_same_pairs_as_ever():
    task = make_task(TaskConfig(name=RECALL, horizon=2, num_items=3, observation_noise=0.5))
    found, random = task.draw(np.random.default_rng(4), 5), np.random.default_rng(4)
    keys = random.permuted(np.tile(np.arange(3), (5, 1)), axis=1)
    values, asked = random.integers(4, size=(5, 3)), random.integers(3, size=(5, 1))
    expected = np.zeros((5, 6, 8), dtype=np.float32)
    expected[:, 3:5] = np.float32(0.5) * random.standard_normal((5, 2, 8), dtype=np.float32)
    expected[:, :3, :3], expected[:, :3, 3:7] = np.eye(3)[keys], np.eye(4)[values]
    expected[:, 5, :3] = np.eye(3)[keys[np.arange(5), asked[:, 0]]]
    expected[:, 5, 7] = 1
    np.testing.assert_array_equal(found.observations, expected)
    np.testing.assert_array_equal(found.targets[:, 5], values[np.arange(5), asked[:, 0]])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            CUES,
            {"min_horizon": 30, "horizon": 20},
            r"task\.min_horizon 30: must be at most task\.horizon, 20",
        ),
        (CUES, {"min_horizon": -1}, r"min_horizon: Expected `int` >= 0 \(got -1\)"),
        (CUES, {"distractors": 1.5}, r"distractors: Expected `float` <= 1\.0 \(got 1\.5\)"),
        (CUES, {"reward_delay": -2}, r"reward_delay: Expected `int` >= 0 \(got -2\)"),
        (OVERWRITE, {"num_items": 8, "horizon": 6}, r"task\.num_items 8: .* at most 1 \+ .* delay, 7"),
        (OVERWRITE, {"num_items": 4, "min_horizon": 2}, r"task\.num_items 4: .* at most 1 \+ .* delay, 3"),
        (OVERWRITE, {"distractors": 0.1}, r"task\.distractors 0\.1: Overwrite-v0 .*legal: 0\.0"),
        (SELECTIVE, {"distractors": 0.1}, r"task\.distractors 0\.1: SelectiveRecall-v0 .*legal: 0\.0"),
        (SELECTIVE, {"observation_noise": 0.1}, r"task\.observation_noise 0\.1: SelectiveRecall-v0"),
    ],
)
def test_what_makes_no_sense_is_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        gymnasium.make(name, **options)


def test_a_frame_has_every_option_of_a_task():
    rewards = {"reward_correct", "reward_wrong"}
    assert {*TASK_COLUMNS, "name", "horizon", *rewards} == set(TaskConfig.__struct_fields__)
