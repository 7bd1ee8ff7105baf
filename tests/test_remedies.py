"""What the suites gradient-flow, generalisation, research and doc-presets measure, and how it is judged."""

import math

import msgspec
import numpy as np
import pytest
import torch
from test_claims import in_three_seeds, judged, run_with
from test_report import make_record

from architectures.gru_pmm import GRUPMM
from membench.agent import build_agent
from membench.config import build_config, merge, nest
from membench.diagnosis import cue_gradient
from membench.envs import Episodes, make_task
from membench.envs.cue_memory import CueMemory
from membench.errors import InputError
from membench.execute import check_runnable
from membench.frame import to_frame
from membench.ppo import descend
from membench.records import CueGradient
from membench.report import all_tables
from membench.report.adaptation import BY_STATE, BY_WEIGHTS, adapts_in_a_few_steps
from membench.report.frame import tidy
from membench.report.generalisation import generalisation_figure, holds_on
from membench.report.gradient_flow import clipping_prevents_explosion, gates_preserve_gradients
from membench.report.judging import helps
from membench.report.presets import cpu_preset_is_faster, preset_of
from membench.suite import load_preset, load_suite, plan_runs
from membench.train import train

CLIP = "ppo.max_grad_norm"
SMALL = {"memory": {"hidden_size": 8, "num_layers": 1}, "ppo": {"num_envs": 4, "num_epochs": 1}}
BRIEF = {"total_timesteps": 50, "evaluation": {"interval": 50, "num_episodes": 4, "num_final_episodes": 40}}


def brief(architecture="gru", **settings):
    return build_config(merge({"architecture": architecture}, SMALL, BRIEF, settings))


def small_pmm(**options):
    torch.manual_seed(0)
    return GRUPMM(3, hidden_size=6, num_layers=1, num_slots=5, slot_size=3, num_read_heads=2, **options)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("residual", "layer_norm"), [(False, True), (True, False), (False, False)])
def test_the_pmm_does_without_residual_or_layer_norm(residual, layer_norm, fused):
    memory, x = small_pmm(residual=residual, layer_norm=layer_norm, fused=fused), torch.randn(2, 7, 3)
    y, _ = memory(x, memory.initial_state(2))
    features, _ = memory.encoder(x)
    latent, _ = memory.pmm(features, memory.initial_state(2)["memory"])

    def normed(z):
        return torch.nn.functional.layer_norm(z, z.shape[-1:]) if layer_norm else z

    latent = normed(latent) @ memory.read_projection.weight.T + memory.read_projection.bias
    torch.testing.assert_close(y, normed(latent + features if residual else latent))
    whole = dict(small_pmm().named_parameters())
    norms = {name for name in whole if "norm" in name}
    assert dict(memory.named_parameters()).keys() == (whole.keys() if layer_norm else whole.keys() - norms)


def test_a_norm_of_zero_clips_nothing():
    agent = build_agent(brief(), make_task(brief().task))
    optimizer = torch.optim.SGD(agent.parameters(), lr=1.0)
    bias = agent.value_head.bias
    for max_grad_norm, moved in ((0.0, 8.0), (1.0, 1.0)):
        before = bias.detach().clone()
        for parameter in agent.parameters():
            parameter.grad = torch.zeros_like(parameter)
        bias.grad = torch.full_like(bias, 8.0)
        measured = descend(agent, optimizer, torch.zeros(1), max_grad_norm)
        assert float(before - bias.detach()) == pytest.approx(moved, rel=1e-5)
        assert float(measured[-1]) == 8.0


class OneEpisode(CueMemory):
    """Cue memory of which one episode is drawn, in double precision."""

    def draw(self, random, num_episodes):
        drawn = super().draw(random, 1)
        return Episodes(drawn.observations.astype(np.float64), drawn.targets, drawn.lengths)


def test_the_gradient_at_the_cue_is_that_of_finite_differences():
    config = brief(task={"horizon": 2})
    task = OneEpisode(config.task)
    torch.manual_seed(0)
    agent = build_agent(config, task).double()
    torch.nn.init.orthogonal_(agent.policy_head.weight)
    found = cue_gradient(agent, task, config.ppo)
    episodes = task.draw(np.random.default_rng(0), 1)
    answer = int(episodes.targets[0, -1])

    def loss(observations):
        with torch.no_grad():
            outputs, _ = agent.evaluate(torch.from_numpy(observations))
        return float(-outputs[0, -1].log_softmax(-1)[answer])

    gradient = np.zeros_like(episodes.observations)
    for place in np.ndindex(gradient.shape):
        step = np.zeros_like(gradient)
        step[place] = 1e-5
        gradient[place] = (loss(episodes.observations + step) - loss(episodes.observations - step)) / 2e-5
    by_step = np.linalg.norm(gradient[0], axis=-1)
    assert found is not None
    assert found.norm == pytest.approx(by_step[0], rel=1e-4)
    assert found.share == pytest.approx(by_step[0] / np.linalg.norm(by_step), rel=1e-4)


def test_the_gradient_at_the_cue_takes_no_more_episodes_at_once_than_training_does(monkeypatch):
    config = brief(ppo={"num_minibatches": 1})
    agent, task = build_agent(config, make_task(config.task)), make_task(config.task)
    together = cue_gradient(agent, task, config.ppo)
    held, evaluate = [], agent.evaluate
    monkeypatch.setattr(agent, "evaluate", lambda x: held.append(len(x)) or evaluate(x))
    apart = cue_gradient(agent, task, brief(ppo={"num_envs": 20, "num_minibatches": 4}).ppo)
    assert max(held) == 5 and sum(held) == 32
    assert together is not None and apart is not None
    assert apart.norm == pytest.approx(together.norm, rel=1e-4)
    assert apart.share == pytest.approx(together.share, rel=1e-4)


@pytest.mark.parametrize("task", ["AssociativeRecall-v0", "Overwrite-v0", "ActiveTMaze-v0"])
def test_a_task_without_a_fixed_cue_has_no_gradient_there(task):
    record = train(brief(task={"name": task, "horizon": 3}))
    assert record.cue_gradient_before is None and record.cue_gradient_after is None


def test_a_record_holds_the_gradients_and_older_records_read_without():
    record = train(brief(task={"horizon": 3}))
    assert record.cue_gradient_before != record.cue_gradient_after
    for found in (record.cue_gradient_before, record.cue_gradient_after):
        assert found is not None and found.norm > 0 and 0 < found.share <= 1
    written = msgspec.to_builtins(record, str_keys=True)
    for field in ("cue_gradient_before", "cue_gradient_after", "success_at"):
        del written[field]
    older = msgspec.convert(written, type(record), strict=False)
    assert older.cue_gradient_before is None and older.success_at == {}


@pytest.mark.parametrize("architecture", ["gru", "transformer"])
def test_success_at_other_horizons_is_measured_without_training_there(architecture):
    horizons = [0, 3, 40]
    plain = train(brief(architecture, task={"horizon": 3}))
    record = train(brief(architecture, task={"horizon": 3}, evaluation={"horizons": horizons}))
    assert list(record.success_at) == horizons
    assert (record.success, record.sampled_success, record.steps) == (
        *(plain.success, plain.sampled_success),
        plain.steps,
    )
    further = 2 * (3 + 2) + sum(horizon + 2 for horizon in horizons) - 2 * (3 + 2)
    assert record.evaluation_steps == plain.evaluation_steps + 40 * further


@pytest.mark.parametrize(("reveal_cue", "low", "high"), [(True, 0.95, 1.0), (False, 0.1, 0.4)])
def test_without_a_memory_other_horizons_are_at_chance_unless_the_cue_is_shown(reveal_cue, low, high):
    config = build_config(
        {
            "architecture": "none",
            "memory": {"hidden_size": 16},
            "task": {"horizon": 2, "reveal_cue": reveal_cue},
            "evaluation": {"horizons": [2, 30], "num_final_episodes": 200},
            "ppo": {"learning_rate": 1e-2},
            "total_timesteps": 10_000,
        }
    )
    for success in train(config).success_at.values():
        assert low <= success <= high


def test_horizons_that_a_task_cannot_have_are_refused_before_training():
    config = brief(
        task={"name": "Overwrite-v0", "num_items": 5, "horizon": 9}, evaluation={"horizons": [9, 2]}
    )
    with pytest.raises(InputError, match=r"task\.num_items 5"):
        check_runnable([config])


PRESETS = """
question = "Which?"
architectures = ["gru", "mamba"]
match_parameters = 225_000
[profiles.quick]
seeds = 1
[[profiles.quick.cells]]
preset = "doc"
ppo.learning_rate = 5e-4
[[profiles.quick.cells]]
preset = "doc-cpu"
"""


def planned(tmp_path, text, **more):
    (tmp_path / "mine.toml").write_text(text)
    return plan_runs(load_suite(str(tmp_path / "mine.toml")), "quick", source="mine.toml", **more)


def test_a_cell_may_name_a_preset_and_depart_from_it(tmp_path):
    doc, doc_mamba, cpu, cpu_mamba = planned(tmp_path, PRESETS)
    assert doc.memory == {"hidden_size": 256, "num_layers": 2, "gate_timescales": "none"}
    assert (doc.ppo.learning_rate, cpu.ppo.learning_rate) == (5e-4, 1e-3)
    assert (doc.agent.head, cpu.ppo.num_envs) == ("gaussian", 4)
    assert cpu_mamba.memory["hidden_size"] == 128 and doc_mamba.memory["mamba_ssm"] is True
    assert {config.matched_parameters for config in (doc, cpu, doc_mamba)} == {None}
    over = planned(tmp_path, PRESETS, overrides=nest("ppo.learning_rate", 0.5))
    assert {config.ppo.learning_rate for config in over} == {0.5}


def test_a_misspelt_preset_of_a_cell_is_an_error(tmp_path):
    with pytest.raises(
        InputError, match=r"mine\.toml.*cell 1: preset 'doc-cpv': unknown; did you mean 'doc-cpu'"
    ):
        planned(tmp_path, PRESETS.replace('"doc-cpu"', '"doc-cpv"'))


def flow(architecture, share, clip=1.0, horizon=10, **fields):
    return run_with(
        CLIP, clip, architecture, horizon, cue_gradient_before=CueGradient(norm=1.0, share=share), **fields
    )


@pytest.mark.parametrize(
    ("gru", "rnn", "expected"),
    [
        ((0.5, 0.1), (0.2, 0.05), "holds"),
        ((0.5, 0.1), (0.2, 0.3), "depends"),
        ((0.1, 0.1), (0.2, 0.3), "does not hold"),
    ],
)
def test_gates_are_judged_by_the_share_that_reaches_the_cue(gru, rnn, expected):
    records = [
        flow(name, share, clip, horizon)
        for name, shares in (("gru", gru), ("rnn", rnn))
        for share, horizon in zip(shares, (10, 50), strict=True)
        for clip in (1.0, 0.0)
    ]
    found = judged(gates_preserve_gradients, in_three_seeds(records))
    assert (found.verdict, found.runs) == (expected, 12)
    assert judged(gates_preserve_gradients, [make_record("gru"), make_record("rnn")]) is None


def test_clipping_is_judged_by_what_diverged_without_it():
    lost = {"status": "diverged", "success": None}
    records = [flow("gru", 0.1), flow("gru", 0.1, 0.0, **lost), flow("rnn", 0.1), flow("rnn", 0.1, 0.0)]
    found = judged(clipping_prevents_explosion, in_three_seeds(records))
    assert (found.verdict, found.runs) == ("holds", 12)  # the RNN tells nothing
    assert "GRU 0 of 3" in found.measured and "unclipped 3 of 3" in found.measured
    assert judged(clipping_prevents_explosion, records).verdict == "undecided"  # one seed a side
    assert judged(clipping_prevents_explosion, in_three_seeds(records[2:])).verdict == "undecided"
    opposite = in_three_seeds([flow("gru", 0.1, **lost), flow("gru", 0.1, 0.0)])
    assert judged(clipping_prevents_explosion, opposite).verdict == "does not hold"
    assert judged(clipping_prevents_explosion, [make_record()]) is None


def test_a_run_that_failed_is_no_explosion():
    failed = {"status": "failed", "success": None}
    records = [flow("gru", 0.1), flow("gru", 0.1, 0.0, seed=1), flow("gru", 0.1, 0.0, **failed)]
    found = judged(clipping_prevents_explosion, records)
    assert (found.verdict, found.runs) == ("undecided", 2)
    assert "unclipped 0 of 1" in found.measured and found.measured.endswith("; left out: 1 that failed")
    assert judged(clipping_prevents_explosion, [records[0], records[2]]) is None
    values = all_tables(tidy(to_frame(records)))["gradient_flow"].values.set_index("cell")
    assert values.loc["not clipped", "diverged"] == 0


def test_what_a_run_does_not_state_is_its_default():
    records = [
        run_with(CLIP, 1.0, "gru_pmm", steps=4_000),
        run_with("memory.residual", False, "gru_pmm", steps=8_000),
    ]
    found = judged(helps("memory.residual", True, False, unstated=True), in_three_seeds(records))
    assert found.verdict == "holds"
    assert judged(helps("memory.residual", True, False), records) is None


def test_the_table_of_gradients_says_what_reached_the_cue_and_what_was_lost():
    records = [
        flow("gru", 0.5),
        flow("gru", 0.1, 0.0, seed=0, cue_gradient_after=CueGradient(norm=2e-9, share=0.25)),
        flow("gru", 0.3, 0.0, seed=1, status="diverged", success=None),
    ]
    table = all_tables(tidy(to_frame(records)))["gradient_flow"]
    clipped = table.values.set_index("cell")
    free, held = clipped.loc["not clipped"], clipped.loc["clipped at 1"]
    assert (free.diverged, free.cue_share_before) == (0.5, pytest.approx(0.2))
    assert (free.cue_norm_after, held.cue_share_before) == (2e-9, 0.5)
    assert math.isnan(held.cue_norm_after)
    assert "gradient_flow" not in all_tables(tidy(to_frame([make_record(), make_record("lstm")])))


def examined(success_at, seed=0, **fields):
    config = build_config({"architecture": "gru_pmm", "task": {"horizon": 20}, "seed": seed})
    record = make_record("gru_pmm", 20, seed, success_at=success_at, **fields)
    return msgspec.structs.replace(record, config=config)


def test_what_was_learned_must_hold_at_the_longest_horizon():
    judge = holds_on("gru_pmm", 0.95)
    good, bad, unlearned = {20: 1.0, 500: 0.97}, {20: 1.0, 500: 0.3}, {20: 0.5, 500: 0.3}
    three_good = [examined(good, seed) for seed in range(3)]
    assert judged(judge, [*three_good, examined(unlearned, 3)]).verdict == "holds"
    assert judged(judge, [*three_good, examined(bad, 3)]).verdict == "depends"
    assert judged(judge, three_good[:2]).verdict == "undecided"
    found = judged(judge, in_three_seeds([examined(bad)]))
    assert (found.verdict, found.measured) == ("does not hold", "success 1.00 at 20, 0.30 at 500")
    assert judged(judge, [examined(unlearned)]) is None and judged(judge, [make_record()]) is None


def test_the_trained_horizon_is_marked_among_those_that_were_not():
    shown = all_tables(tidy(to_frame([examined({20: 1.0, 1000: 0.5})])))["generalisation"].shown
    assert shown["Test horizon"].tolist() == ["20 (trained)", "1,000"]


def test_a_lost_run_counts_at_chance_at_every_horizon():
    frame = tidy(to_frame([examined({20: 1.0, 50: 0.5}), examined({}, 1, status="diverged", success=None)]))
    values = all_tables(frame)["generalisation"].values
    assert values.test_horizon.tolist() == [20, 50]
    assert values["mean"].tolist() == [0.625, 0.375]
    assert values.by_seed.tolist() == ["1.0 0.25", "0.5 0.25"]
    axes = generalisation_figure(frame).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["20", "50"]
    assert axes.get_xscale() == "log"


def test_two_ways_to_adapt_stand_side_by_side():
    recall = {"task": {"name": "AssociativeRecall-v0", "num_items": 4}, "objective": "supervised"}
    records = []
    for settings, status in (({"objective": "maml"}, "solved"), (recall, "unsolved")):
        config = build_config(merge({"architecture": "gru", "task": {"horizon": 5}}, settings))
        record = make_record("gru", 5, status=status, cpu_seconds=3.0)
        records.append(
            msgspec.structs.replace(record, config=config, run_id=config.run_id, task=config.task.name)
        )
    values = all_tables(tidy(to_frame(records)))["adaptation"].values.set_index("adapts")
    assert (values.solved[BY_WEIGHTS], values.solved[BY_STATE]) == (1, 0)
    found = judged(adapts_in_a_few_steps, in_three_seeds(records))
    assert (found.verdict, found.runs) == ("holds", 3) and "5 inner steps" in found.measured
    assert judged(adapts_in_a_few_steps, records).verdict == "undecided"
    assert judged(adapts_in_a_few_steps, records[1:]) is None


def test_runs_are_known_by_the_preset_that_they_follow():
    def under(preset, speed, name="gru", **more):
        settings = merge(load_preset(preset).settings_for(name), {"architecture": name}, more)
        config = build_config(settings)
        record = make_record(name, 20, steps_per_second=speed)
        return msgspec.structs.replace(record, config=config, run_id=config.run_id)

    records = [under("doc", 300.0), under("doc-cpu", 500.0), under("doc-gpu", 20.0)]
    frame = tidy(to_frame(records))
    followed = {run.run_id: preset_of(run) for _, run in frame.iterrows()}
    assert [followed[record.run_id] for record in records] == ["doc", "doc-cpu", "doc-gpu"]
    assert sorted(all_tables(frame)["presets"].values.preset) == ["doc", "doc-cpu", "doc-gpu"]
    found = judged(cpu_preset_is_faster, in_three_seeds(records))
    assert (found.verdict, found.measured, found.runs) == ("holds", "GRU 500 against 300", 6)
    # The presets state no options of the RNN, so that what "doc" states is a part of what the others do.
    rnn = tidy(to_frame([under(preset, 300.0, "rnn") for preset in ("doc", "doc-cpu", "doc-gpu")]))
    assert sorted(all_tables(rnn)["presets"].values.preset) == ["doc", "doc-cpu", "doc-gpu"]
    changed = tidy(to_frame([under("doc", 300.0, ppo={"learning_rate": 0.5})]))
    assert preset_of(changed.iloc[0]) is None and "presets" not in all_tables(changed)
