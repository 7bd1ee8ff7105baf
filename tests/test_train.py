"""One run: it learns, it is reproducible, it stops when it should, and it survives its own divergence."""

import shutil
from itertools import pairwise

import msgspec
import pytest
import torch

from architectures import ARCHITECTURES
from membench import ppo
from membench.config import build_config, merge
from membench.frame import to_frame
from membench.milestones import SuccessWindow
from membench.records import MEASURED_ON_THE_MACHINE
from membench.rollout import collect, draw_noise
from membench.train import load_agent, train
from membench.training import Training

SMALL = {
    "architecture": "gru",
    "memory": {"hidden_size": 32, "num_layers": 1},
    "task": {"horizon": 3},
    "total_timesteps": 2_000,
    "evaluation": {"interval": 500, "num_final_episodes": 100},
}


def small_config(**settings):
    return build_config(merge(SMALL, settings))


def without_timings(record):
    fields = msgspec.to_builtins(record)
    for field in MEASURED_ON_THE_MACHINE:
        del fields[field]
    for point in fields["curve"]:
        del point["seconds"]
    return fields


@pytest.mark.parametrize("architecture", ["gru", "gru_pmm", "lstm", "transformer", "mamba"])
def test_the_same_seed_gives_the_same_record_bit_for_bit(architecture, tmp_path):
    config = small_config(architecture=architecture, total_timesteps=1_000)
    first, second = (train(config, weights=tmp_path / f"{n}.pt") for n in "ab")
    assert without_timings(first) == without_timings(second)
    weights = [torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in "ab"]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_another_seed_gives_another_record():
    records = [train(small_config(seed=seed)) for seed in (0, 1)]
    assert records[0].curve[-1].entropy != records[1].curve[-1].entropy


def test_a_solved_run_stops_and_says_when(tmp_path):
    config = small_config(task={"horizon": 1}, total_timesteps=40_000)
    record = train(config, weights=tmp_path / "weights.pt")
    assert record.status == "solved"
    assert max(record.steps_to_solved, record.steps_to_sampled_95) <= record.steps < 40_000
    assert [point.success >= 0.95 for point in record.curve[-2:]] == [True, True]
    assert record.steps == record.curve[-1].steps and record.train_success >= 0.95
    until_solved = [point for point in record.curve if point.steps <= record.steps_to_solved]
    assert [point.success >= 0.95 for point in until_solved[-2:]] == [True, True]
    assert not any(a.success >= 0.95 and b.success >= 0.95 for a, b in pairwise(until_solved[:-1]))
    assert record.success is not None and record.success >= 0.95
    assert record.recall_gap == 2

    agent = load_agent(config, tmp_path / "weights.pt")
    cues = torch.eye(4)
    outputs, _ = agent.evaluate(torch.stack([cues, 0 * cues, 0 * cues], dim=1))
    assert outputs[:, -1].argmax(-1).tolist() == [0, 1, 2, 3]


def test_a_run_goes_on_while_its_latest_evaluation_is_poor(monkeypatch):
    """Solved at its second evaluation, worse at its third, when the sampled answers have become good."""
    found = []

    def examine(self, *args):
        found.append([1.0, 1.0, 0.5, 1.0, 1.0, 0.0, 0.0][len(found)])
        return found[-1]

    monkeypatch.setattr(Training, "examine", examine)
    monkeypatch.setattr(SuccessWindow, "is_good", property(lambda self: len(found) >= 3))
    record = train(small_config(total_timesteps=10_000))
    assert record.steps_to_solved == record.curve[1].steps
    assert record.steps == record.curve[4].steps == record.curve[-1].steps


def test_stopping_can_be_turned_off():
    evaluation = {"stop_when_solved": False}
    config = small_config(task={"horizon": 0}, total_timesteps=12_000, evaluation=evaluation)
    record = train(config)
    assert record.status == "solved"
    assert record.steps >= 12_000 > record.steps_to_solved
    assert record.steps_to_sampled_95 is not None


def test_evaluations_come_at_fixed_steps_and_are_not_charged():
    record = train(small_config())
    rollout = 32 * 5
    expected = [-(-500 * n // rollout) * rollout for n in (1, 2, 3)] + [13 * rollout]
    assert [point.steps for point in record.curve] == expected
    assert record.steps == 13 * rollout
    assert record.evaluation_steps == 5 * (4 * 128 + 2 * 100)


def test_divergence_is_recorded_not_raised(monkeypatch):
    honest = ppo.losses
    calls = []

    def explode(*args):
        calls.append(args)
        loss = honest(*args)
        return ppo.Losses(**{**vars(loss), "total": loss.total * float("nan")}) if len(calls) > 9 else loss

    monkeypatch.setattr(ppo, "losses", explode)
    record = train(small_config())
    assert record.status == "diverged"
    assert record.error is not None and record.error.startswith("after 320 steps: loss nan")
    assert record.success is not None  # the weights from before are still there to be examined


def test_the_document_s_head_and_schedules_train():
    record = train(
        small_config(
            agent={"head": "gaussian"},
            ppo={"entropy_start": 0.05, "learning_rate_schedule": "cosine", "num_minibatches": 4},
        )
    )
    rates = [point.learning_rate for point in record.curve]
    assert rates == sorted(rates, reverse=True)
    assert record.parameters["action_std"] == 4


def test_schedules_follow_the_progress_of_training():
    training = Training(small_config(ppo={"learning_rate_schedule": "cosine"}), started=0.0)
    training.steps = 1_000
    training.iterate()
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(3e-3 / 2)


def test_parameters_add_up():
    record = train(small_config(total_timesteps=160))
    gru = 3 * 32 * (4 + 32 + 2)
    assert record.parameters == {"gru": gru, "policy_head": 132, "value_head": 33, "total": gru + 165}
    assert record.state_bytes == 32 * 4


def test_the_success_window_looks_back_on_320_episodes():
    right, wrong, asked = torch.ones(200, 1), torch.zeros(200, 1), torch.ones(200, 1)
    window = SuccessWindow()
    window.add(right, asked)
    assert not window.is_good and window.success == 1.0
    window.add(wrong, asked)
    assert not window.is_good and window.success == 120 / 320
    window.add(right, asked)
    window.add(right, asked)
    assert window.is_good and window.success == 1.0


def test_a_frame_has_one_row_per_run():
    records = [train(small_config(total_timesteps=160, seed=seed)) for seed in range(2)]
    frame = to_frame(records)
    assert frame["seed"].tolist() == [0, 1]
    assert frame["parameters"].tolist() == [record.parameters["total"] for record in records]


def test_denormal_numbers_are_zero_in_a_run_and_no_longer():
    def fades():
        return (torch.tensor([1e-38]) * 1e-3).item() == 0

    seen = []
    train(small_config(total_timesteps=1), on_progress=lambda progress: seen.append(fades()))
    assert seen and all(seen) and not fades()


def test_told_the_answers_a_memory_learns_and_says_so():
    record = train(small_config(objective="supervised", total_timesteps=12_000))
    assert record.status == "solved"
    assert record.config.objective == "supervised"
    assert record.sampled_success > 0.9


TWO_AT_A_TIME = {"ppo": {"num_minibatches": 3, "steps_per_backward": 12}}
COMPUTED_OTHERWISE = {
    "two episodes of five steps at a time": TWO_AT_A_TIME,
    "two at a time, told the answers": TWO_AT_A_TIME | {"objective": "supervised"},
    "checkpoints": {"ppo": {"num_minibatches": 3}, "compute": {"steps_per_checkpoint": 2}},
    "compiled": {"ppo": {"num_minibatches": 3}, "compute": {"compile": True}, "memory": {"fused": False}},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # which PyTorch's compiler looks at
@pytest.mark.parametrize(
    "how",
    [pytest.param(how, marks=[pytest.mark.slow] if how == "compiled" else []) for how in COMPUTED_OTHERWISE],
)
def test_however_it_is_computed_an_update_is_the_same(how):
    if how == "compiled" and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    updated, num_calls = [], []
    objective = {key: value for key, value in COMPUTED_OTHERWISE[how].items() if key == "objective"}
    for settings in ({"ppo": {"num_minibatches": 3}} | objective, COMPUTED_OTHERWISE[how]):
        training = Training(small_config(**settings), 0.0)
        calls = count_calls(training.agent.memory, "forward")
        statistics = training.iterate()
        num_calls.append(len(calls))
        updated.append(
            [
                *(p.detach() for p in training.agent.parameters()),
                torch.tensor(vars(statistics)["policy_loss"]),
            ]
        )
    for one, other in zip(*updated, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert how == "compiled" or num_calls[1] > num_calls[0]


def count_calls(module, name):
    """Return a list that gets an entry whenever a method of `module` is called."""
    honest, calls = getattr(module, name), []

    def counted(*arguments, **options):
        calls.append(None)
        return honest(*arguments, **options)

    setattr(module, name, counted)
    return calls


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpoints_change_no_gradient_of_any_memory(architecture):
    gradients = []
    for steps in (None, 3):
        config = build_config(
            {
                "architecture": architecture,
                "memory": {"hidden_size": 8},
                "compute": {"steps_per_checkpoint": steps} if steps else {},
            }
        )
        training = Training(config, 0.0)
        outputs, values = training.agent.evaluate(torch.randn(2, 5, 4, generator=torch.manual_seed(0)))
        (outputs.sum() + values.sum()).backward()
        gradients.append([p.grad for p in training.agent.memory.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_in_half_precision_parameters_and_losses_stay_single_and_the_first_ratio_is_one():
    training = Training(small_config(compute={"precision": "bfloat16"}), 0.0)
    outputs, values = training.agent.evaluate(torch.randn(2, 5, 4))
    assert outputs.dtype == values.dtype == torch.float32
    full = Training(small_config(), 0.0).agent.evaluate(torch.ones(2, 5, 4))[0]
    half = training.agent.evaluate(torch.ones(2, 5, 4))[0]
    assert 0 < (full - half).abs().max() < 0.1
    noise = draw_noise(training.agent, training.envs, training.random.actions)
    rollout = collect(training.agent, training.envs, seed=0, noise=noise)
    outputs, _ = training.agent.evaluate(rollout.observations)
    ratio = (training.agent.head.log_prob(outputs, rollout.actions) - rollout.log_probs).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-5, rtol=0)
    training.iterate()
    assert {p.dtype for p in training.agent.parameters()} == {torch.float32}


def test_a_loss_that_explodes_ends_a_run_as_diverged():
    record = train(small_config(task={"reward_correct": 1e9}))
    assert record.status == "diverged"
    assert record.error is not None and record.error.startswith("after 0 steps: loss")
