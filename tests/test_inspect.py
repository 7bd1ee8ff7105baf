"""Inspection: every metric moves when its fault is planted, and only then."""

import dataclasses
import json
import math

import msgspec
import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES
from membench.agent import Agent, build_agent
from membench.check import small_options
from membench.config import TaskConfig, build_config
from membench.envs import make_task
from membench.errors import InputError
from membench.folders import record_path, weights_path
from membench.heads import CategoricalHead
from membench.inspect import interventions
from membench.inspect import utilisation as utilisation_module
from membench.inspect.episodes import draw_sample
from membench.inspect.figures import (
    hidden_figure,
    interventions_figure,
    part_looks,
    retention_figure,
    utilisation_figure,
)
from membench.inspect.interventions import shapley
from membench.inspect.looking import look
from membench.inspect.page import inspect_run, write_inspection
from membench.inspect.phases import NOT_TOLD, hidden_changes, judge
from membench.inspect.probe import fit, probe, readable
from membench.inspect.runs import load_run
from membench.inspect.tables import attention_table, in_words, retention_table, tables_for
from membench.inspect.utilisation import Utilisation, complaints, effective_slots, utilisation
from membench.inspect.words import answer, attended, carried, kept, not_applying
from membench.memory import Memory, Trace
from membench.records import read_record, write_record
from membench.train import train

HORIZON, NUM_CUES = 8, 4
QUERY = HORIZON + 1
FAULT_AT = 5
TASK = make_task(TaskConfig(horizon=HORIZON))
KEYS = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])


class Notebook(Memory):
    """Two slots of a key and a content; what is seen is added to the slots that a fixed query finds.

    Nothing is learned, and nothing else is carried, so that whatever is measured of it is known beforehand.
    """

    def __init__(self, keys=KEYS, *, cut_at=None):
        super().__init__(NUM_CUES, NUM_CUES)
        self.keys, self.cut_at = nn.Parameter(keys), cut_at
        self.query = nn.Parameter(torch.tensor([20.0, 0.0, 0.0]))

    def initial_state(self, batch_size):
        slots = torch.cat([self.keys, torch.zeros(2, NUM_CUES)], dim=1)
        return {
            "hidden": self.zeros(batch_size, NUM_CUES),
            "memory": slots.expand(batch_size, -1, -1),
            "position": torch.zeros(batch_size, dtype=torch.long),
        }

    def forward(self, x, state, *, trace=None):
        memory, position, steps = state["memory"], state["position"], []
        for x_t in x.unbind(1):
            if self.cut_at is not None and int(position[0]) == self.cut_at:
                memory = memory.detach()
            weights = torch.softmax(memory[:, :, :3] @ self.query, dim=-1)
            written = weights.unsqueeze(2) * nn.functional.pad(x_t, (3, 0)).unsqueeze(1)
            memory, position = memory + written, position + 1
            steps.append(((weights.unsqueeze(1) @ memory)[:, 0, 3:], weights.unsqueeze(1), memory))
        reads, weights, memories = (torch.stack(parts, dim=1) for parts in zip(*steps, strict=True))
        if trace is not None:
            trace.record("hidden", reads)
            trace.record("memory", memories)
            for name in ("attention.read", "attention.write"):
                trace.record(name, weights)
        return reads, {"hidden": reads[:, -1], "memory": memory, "position": position}


def agent_with(memory, scale=1.0):
    """An agent that answers with the cue that it reads."""
    agent = Agent(memory, CategoricalHead(), NUM_CUES, scale)
    with torch.no_grad():
        agent.policy_head.weight.copy_(10 * torch.eye(NUM_CUES))
    return agent


def forget(step, state):
    """Zero the contents in the middle of the delay."""
    if step != FAULT_AT:
        return state
    contents = torch.cat([torch.ones(3), torch.zeros(NUM_CUES)])
    return state | {"memory": state["memory"] * contents, "hidden": torch.zeros_like(state["hidden"])}


FAULTS = {
    "none": lambda: look(agent_with(Notebook()), TASK, discount=0.99),
    "lost": lambda: look(agent_with(Notebook()), TASK, change=forget),
    "identical slots": lambda: look(agent_with(Notebook(KEYS[[0, 0]])), TASK),
    "cut gradient": lambda: look(agent_with(Notebook(cut_at=FAULT_AT)), TASK),
    "blown up": lambda: look(agent_with(Notebook(100 * KEYS)), TASK),
}


def metrics(found):
    """Return the four metrics, each None or so where nothing is amiss."""
    reach = found.reach > 0
    return {
        "lost": found.retention["memory"].lost_at,
        "identical slots": (
            {one.name: one.is_uniform() for one in found.attention},
            round(found.utilisation["memory"][0].effective_slots, 3) == 1.0,
        ),
        "cut gradient": int((~reach).sum()) and [*(~reach[:FAULT_AT]).tolist(), *reach[FAULT_AT:].tolist()],
        "blown up": [
            one for one in complaints(found.utilisation["memory"][-1], is_slots=True) if "norm" in one
        ],
    }


@pytest.mark.parametrize("fault", FAULTS)
def test_each_metric_moves_when_its_fault_is_planted_and_only_then(fault):
    sound = {
        "lost": None,
        "identical slots": ({"read": False, "write": False}, False),
        "cut gradient": 0,
        "blown up": [],
    }
    faulty = {
        "lost": FAULT_AT,
        "identical slots": ({"read": True, "write": True}, True),
        "cut gradient": [True] * (QUERY + 1),
        "blown up": ["norm 141.42, above 2.00"],
    }
    planted = {fault: faulty[fault]} if fault in faulty else {}
    assert metrics(FAULTS[fault]()) == sound | planted


def test_a_probe_falls_to_chance_exactly_where_the_memory_is_zeroed():
    one = FAULTS["lost"]().retention["memory"]
    assert (one.accuracy[:FAULT_AT] == 1).all()
    assert (one.accuracy[FAULT_AT:] < one.chance + 0.15).all()


def test_where_memory_holds_and_answers_are_wrong_the_policy_is_blamed():
    agent = agent_with(Notebook())
    with torch.no_grad():
        agent.policy_head.weight.copy_(10 * torch.eye(NUM_CUES).roll(1, 0))
    assert "the policy is at fault" in kept(look(agent, TASK))
    assert "the policy is at fault" not in kept(FAULTS["none"]())
    assert f"lost from the state at step {FAULT_AT}" in kept(FAULTS["lost"]())


def test_the_answer_comes_from_the_slots_of_a_notebook_and_from_one_of_them():
    found = FAULTS["none"]()
    middle = found.middle
    assert middle is not None
    shares = {part.name: part.share for part in middle.parts}
    assert shares == pytest.approx({"memory": 1, "hidden": 0}, abs=1e-4)  # nothing reads the hidden state
    following = {part.name: part.following for part in middle.parts}
    assert following == {"memory": 1, "hidden": 0}
    effects = {one.slot: one.effect for one in middle.slots}
    assert effects == pytest.approx({0: 1, 1: 0}, abs=1e-4)
    assert middle.success == middle.following_all == 1.0


def test_no_rollout_is_done_twice(monkeypatch):
    rollouts, outputs = [], interventions._Rest.outputs
    monkeypatch.setattr(
        interventions._Rest, "outputs", lambda rest, state: rollouts.append(state) or outputs(rest, state)
    )
    agent = agent_with(Notebook())
    sample = draw_sample(agent, TASK, 128)
    found = interventions.intervene(agent, sample, FAULT_AT, with_slots=False)
    num_parts = len(found.parts)
    assert num_parts == 2
    assert len(rollouts) == 2**num_parts + num_parts  # every set of parts swapped, every part zeroed


def test_the_answer_comes_from_the_hidden_state_where_there_is_nothing_else():
    config = build_config({"architecture": "rnn", "memory": {"hidden_size": 16}, "task": {"horizon": 3}})
    task = make_task(config.task)
    found = look(build_agent(config, task), task)
    assert [(part.name, round(part.share, 4)) for part in found.swaps[0].parts] == [("hidden", 1.0)]


@pytest.mark.parametrize("architecture", ["none", "oracle"])
def test_without_a_memory_nothing_carried_reaches_the_answer(architecture):
    config = build_config({"architecture": architecture, "task": {"horizon": 3, "reveal_cue": True}})
    task = make_task(config.task)
    found = look(build_agent(config, task), task)
    assert all(one.parts == [] for one in found.swaps)
    assert (found.reach[:-1] == 0).all() and found.reach[-1] > 0


def test_the_notebook_fits_the_document_s_story():
    verdicts = {one.sentence: one.verdict for one in judge(FAULTS["none"]())}
    assert verdicts.pop("GRU detects query phase") == "does not hold"  # its policy never changes
    assert set(verdicts.values()) == {"holds"}


VALUES = "Value head learns cue phase has no immediate reward"


@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_values_are_judged_by_the_discount_that_they_were_trained_with(discount):
    """Values of a reward that comes at the query alone grow by the discount from step to step."""
    agent = agent_with(Notebook())
    found = look(agent, TASK, discount=discount)
    grown = torch.tensor([discount ** (QUERY - step) for step in found.steps])
    found = dataclasses.replace(found, values=grown.unsqueeze(1).expand_as(found.values))
    (judged,) = [one for one in judge(found) if one.sentence == VALUES]
    assert (judged.verdict, judged.measured) == ("holds", "expected reward of step 0: +0.000 (within 0.05)")


def test_shares_of_games_worked_by_hand():
    names = ["a", "b"]
    subsets = ((), ("a",), ("b",), ("a", "b"))
    games = {
        (0.0, 0.3, 0.7, 1.0): (0.3, 0.7),  # additive
        (0.0, 1.0, 1.0, 1.0): (0.5, 0.5),  # either will do
        (0.0, 0.0, 0.0, 1.0): (0.5, 0.5),  # both are needed
        (0.0, 1.0, 0.0, 1.0): (1.0, 0.0),  # b is ignored
    }
    for effects, shares in games.items():
        found = shapley(names, dict(zip(subsets, effects, strict=True)))
        assert tuple(found.values()) == pytest.approx(shares)


def test_utilisation_worked_by_hand():
    memory = torch.tensor([[[0.3, 0.4], [0.0, 0.05]]])
    assert utilisation(memory) == pytest.approx((0.275, 0.5, None))
    assert effective_slots(torch.stack([torch.eye(4), torch.ones(4, 4), torch.zeros(4, 4)])).tolist() == (
        pytest.approx([4, 1, 0])
    )
    assert complaints(Utilisation(1.0, 0.5), is_slots=True) == []
    assert complaints(Utilisation(0.1, 0.9), is_slots=True) == [
        "norm 0.10, below 0.50",
        "saturation 90%, above 80%",
    ]
    assert complaints(Utilisation(30.0, 0.5), is_slots=False) == []
    assert complaints(Utilisation(float("nan"), 0.0), is_slots=False) == ["values that are not finite"]


class TestProbe:
    """A linear classifier that reads with a limited precision."""

    answers = torch.arange(4).repeat(50)

    def accuracy(self, numbers):
        reading = readable(numbers, 100, torch.Generator().manual_seed(1))
        return float(probe(reading.unsqueeze(0), self.answers, 100))

    def test_reads_what_is_there(self):
        random = torch.Generator().manual_seed(0)
        directions = torch.randn(4, 500, generator=random)
        noise = torch.randn(200, 500, generator=random)
        assert self.accuracy(directions[self.answers] + 0.1 * noise) == 1.0
        assert self.accuracy(noise) < 0.45

    @pytest.mark.parametrize(("difference", "least", "most"), [(0.1, 0.95, 1.0), (1e-4, 0.0, 0.45)])
    def test_does_not_tell_apart_what_differs_by_less_than_its_precision(self, difference, least, most):
        numbers = torch.ones(200, 8) + difference * nn.functional.one_hot(self.answers, 8)
        assert least <= self.accuracy(numbers) <= most

    def test_reads_many_numbers_in_the_directions_that_the_training_episodes_span(self):
        numbers, num_train = torch.randn(30, 200, generator=torch.Generator().manual_seed(0)), 20
        found = readable(numbers, num_train, torch.Generator().manual_seed(1))
        noise = torch.randn(numbers.shape, generator=torch.Generator().manual_seed(1))
        read = numbers / numbers.square().mean().sqrt() + 0.01 * noise
        read = read - read[:num_train].mean(0)
        assert found.shape == (30, num_train)
        torch.testing.assert_close(
            found @ found[:num_train].T, read @ read[:num_train].T, rtol=1e-4, atol=1e-3
        )
        assert (found == 0).all(0).sum() == 1  # centred, they span one direction fewer than they are

    def test_numbers_that_are_not_finite_say_nothing(self):
        assert self.accuracy(torch.full((200, 3), float("inf"))) < 0.45

    def test_its_weights_minimise_its_loss(self):
        readings = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
        labels = torch.arange(40) % 2
        weights = fit(readings, labels, 2).requires_grad_()
        scores = torch.cat([readings, torch.ones(2, 40, 1)], -1) @ weights
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), labels.repeat(2), reduction="sum") / 40
        (loss + 1e-3 * weights[:, :-1].square().sum()).backward()
        assert weights.grad is not None and weights.grad.abs().max() < 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_memory_can_be_looked_into(architecture):
    config = build_config(
        {"architecture": architecture, "memory": small_options(architecture), "task": {"horizon": 3}}
    )
    config = msgspec.structs.replace(config, memory=without_context(config.memory))
    task = make_task(config.task)
    torch.manual_seed(0)
    agent = build_agent(config, task)
    before = {name: tensor.clone() for name, tensor in agent.state_dict().items()}
    found = look(agent, task)
    assert all(torch.equal(before[name], tensor) for name, tensor in agent.state_dict().items())
    assert all(parameter.grad is None for parameter in agent.parameters())
    has_slots = architecture.startswith("pmm") or architecture in ("gru_pmm", "ntm", "dnc")
    assert bool(found.slot_parts) == has_slots
    assert bool(found.attention) == (has_slots or architecture in ("transformer", "gtrxl"))
    assert {"utilisation", "retention", "phases", "episode"} <= tables_for(found).keys()
    assert len(answer(found)) >= 4 and len(in_words(found)) == 3
    assert found.attention or any("Attention" in sentence for sentence in not_applying(found))
    assert (found.reach[0] > 0) == agent.memory.remembers


def without_context(options):
    return {name: value for name, value in options.items() if name != "context_length"}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trace_shows_the_same_of_a_whole_sequence_and_of_its_steps(architecture):
    config = build_config({"architecture": architecture, "memory": small_options(architecture)})
    task = make_task(config.task)
    torch.manual_seed(0)
    memory = build_agent(msgspec.structs.replace(config, memory=without_context(config.memory)), task).memory
    x, whole, state = torch.randn(2, 6, task.observation_size), Trace(), memory.initial_state(2)
    memory(x, state, trace=whole)
    steps = []
    for x_t in x.split(1, dim=1):
        steps.append(Trace())
        _, state = memory(x_t, state, trace=steps[-1])
    assert "hidden" in whole
    for name, recorded in whole.items():
        for place, tensor in enumerate(recorded):
            for step, trace in enumerate(steps):
                one = trace[name][place][:, 0]
                torch.testing.assert_close(tensor[:, step, ..., : one.shape[-1]], one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "task",
    [
        {"num_items": 2},
        {"name": "AssociativeRecall-v0", "num_items": 2},
        {"min_horizon": 2, "observation_noise": 0.1},
        {"horizon": 0},
        {"horizon": 100, "name": "SelectiveRecall-v0"},
        {"reward_delay": 3, "distractors": 0.5},
    ],
    ids=str,
)
def test_every_task_can_be_looked_into(task):
    config = build_config(
        {"architecture": "gru_pmm", "memory": small_options("gru_pmm"), "task": {"horizon": 4} | task}
    )
    found = look(build_agent(config, made := make_task(config.task)), made)
    assert found.steps[0] == 0 and found.steps[-1] == found.sample.query and len(found.steps) <= 48
    assert answer(found) and tables_for(found)


def left_behind(results, settings):
    """Return the place of a run of a few updates, with some settings of its own."""
    config = build_config(
        {
            "architecture": "gru_pmm",
            "memory": {"hidden_size": 16, "num_slots": 8, "slot_size": 8, "num_layers": 1},
            "task": {"horizon": 3},
            "total_timesteps": 640,
            "evaluation": {"interval": 320, "num_episodes": 8, "num_final_episodes": 8},
        }
        | settings
    )
    place = record_path(results, config.run_id)
    place.parent.mkdir()
    record = train(config, weights=weights_path(results, config.run_id))
    write_record(results, record)
    return place


@pytest.mark.parametrize(
    ("task", "told", "not_told"),
    [
        ({"num_items": 2}, 1, 0),
        ({"name": "SelectiveRecall-v0", "num_items": 2}, 4, 1),
        ({"name": "AssociativeRecall-v0", "num_items": 1}, 0, 0),
        ({"name": "AssociativeRecall-v0", "num_items": 2}, 6, 2),
        ({"name": "Overwrite-v0", "num_items": 2}, 4, 1),
    ],
    ids=str,
)
def test_no_memory_is_blamed_for_what_it_cannot_know_yet(task, told, not_told):
    options = {"architecture": "gru_pmm", "memory": small_options("gru_pmm"), "task": {"horizon": 4} | task}
    config = build_config(options)
    found = look(build_agent(config, made := make_task(config.task)), made)
    assert found.sample.told == told
    assert [one.measured for one in judge(found)].count(NOT_TOLD) == not_told
    said = [sentence for sentence in not_applying(found) if sentence.startswith(f"Probes before step {told}")]
    assert bool(said) == bool(not_told)
    after_the_cue = retention_table(found).values["after the cue"]
    assert after_the_cue.isna().all() == bool(not_told)


class Signs(Memory):
    """The sum of all that was seen."""

    def __init__(self, size):
        super().__init__(size, size)
        self.unused = nn.Parameter(torch.zeros(1))

    def initial_state(self, batch_size):
        return {"hidden": self.zeros(batch_size, self.output_size)}

    def forward(self, x, state, *, trace=None):
        sums = state["hidden"].unsqueeze(1) + x.cumsum(1)
        if trace is not None:
            trace.record("hidden", sums)
        return sums, {"hidden": sums[:, -1]}


MAZE = make_task(TaskConfig(name="ActiveTMaze-v0", horizon=4))


def walker(back):
    """An agent that walks into the arm of the sign that it saw; before that, back if `back` is positive."""
    agent = Agent(Signs(NUM_CUES + 1), CategoricalHead(), NUM_CUES + 1, 1.0)
    with torch.no_grad():
        agent.policy_head.weight.copy_(torch.diag(torch.tensor([10.0] * NUM_CUES + [0.0])))
        agent.policy_head.bias.copy_(torch.tensor([0.0] * NUM_CUES + [back]))
    return agent


class TestMaze:
    """A task in which what is seen depends on what is done."""

    def test_an_agent_that_seeks_the_sign_is_looked_into_from_there(self, tmp_path, trained):
        found = look(walker(back=1.0), MAZE)
        # One step back, the sign, the corridor, the junction.
        assert (found.sample.delay, found.sample.query) == (2, 6)
        assert found.success == 1.0 and found.retention["hidden"].accuracy.tolist()[1:] == [1.0] * 6
        assert [part.share for one in found.swaps for part in one.parts] == pytest.approx([1.0] * 5)
        assert [line.split(":")[0] for line in in_words(found)] == [
            "**Steps 0-1 (Cue)**",
            "**Steps 2-5 (Delay)**",
            "**Step 6 (Query)**",
        ]
        # The hidden state begins as zeros, of which no change has a share.
        assert math.isnan(hidden_changes(found)[1]) and hidden_changes(found)[2] == 0.0
        page = write_inspection(tmp_path, read_record(trained[1]), found).page.read_text()
        assert "goes on with what was seen without the change" in page

    def test_of_one_that_never_sees_it_no_cue_is_told(self):
        found = look(walker(back=-1.0), MAZE)
        assert (found.sample.delay, found.sample.query) == (0, 4)
        assert kept(found).startswith(
            "Nothing that the agent sees before the question says what the answer is"
        )
        assert [line.split(":")[0] for line in in_words(found)] == [
            "**Steps 0-3 (Delay)**",
            "**Step 4 (Query)**",
        ]
        assert judge(found)[0].measured == "the agent never sees the cue"
        assert any("the agent never sees one" in sentence for sentence in not_applying(found))

    def test_steps_that_show_the_sign_again_are_no_delay(self):
        found = look(walker(back=15.0), MAZE)  # goes back until the sign was seen twice
        assert (found.sample.delay, found.sample.query) == (3, 7)

    def test_one_that_never_comes_to_the_junction_cannot_be_looked_into(self):
        with pytest.raises(InputError, match="never comes to a question within the 14 steps"):
            look(walker(back=1000.0), MAZE)

    def test_episodes_with_one_answer_cannot_be_compared(self):
        agent = walker(back=1.0)
        with torch.no_grad():
            agent.policy_head.weight[1:-1] = 0.0  # any sign but the first is not understood
        with pytest.raises(InputError, match="have the same right answer: there is nothing to compare"):
            look(agent, MAZE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a results folder with a run of a few updates in it, and the run's place."""
    results = tmp_path_factory.mktemp("results")
    return results, left_behind(results, {})


@pytest.mark.parametrize(
    ("settings", "discount"),
    [
        ({"ppo": {"discount": 0.8}}, 0.8),
        ({"ppo": {"value_coefficient": 0.0}}, None),
        ({"objective": "supervised"}, None),
    ],
    ids=str,
)
def test_the_discount_is_that_of_the_record(tmp_path, settings, discount):
    found, _ = inspect_run(load_run(left_behind(tmp_path, settings)))
    assert found.discount == discount
    (judged,) = [one for one in judge(found) if one.sentence == VALUES]
    assert (judged.measured == "values were not trained") == (discount is None)


class TestCommand:
    """`membench inspect RUN`."""

    def test_writes_a_page_with_every_figure_and_table(self, trained, membench):
        results, place = trained
        code, out, err = membench("inspect", place.with_suffix(""))
        assert (code, err) == (0, "")
        folder = results / "inspect" / place.stem
        page = (folder / "inspect.html").read_text()
        names = {
            *(
                "utilisation",
                "attention",
                "hidden",
                "retention",
                "reach",
                "interventions",
                "episode",
                "training",
            ),
        }
        for name in names - {"interventions"}:  # an untrained agent may not listen to its state
            assert f'id="figure-{name}"' in page
            assert (folder / "plots" / f"{name}.png").exists()
        assert page.count("data:image/svg+xml;base64,") == len(list((folder / "plots").glob("*.svg")))
        assert "http://" not in page.replace("http://www.w3.org", "")
        assert (folder / "tables" / "phases.csv").exists()
        assert f"page:   {folder / 'inspect.html'}" in out

    def test_the_same_run_gives_the_same_page(self, trained, membench, tmp_path):
        for name in ("a", "b"):
            assert membench("inspect", trained[1], "--out", tmp_path / name)[0] == 0
        assert (tmp_path / "a/inspect.html").read_bytes() == (tmp_path / "b/inspect.html").read_bytes()

    @pytest.mark.plots(drawn=False)
    def test_json_holds_the_values_of_the_tables(self, trained, membench, tmp_path):
        code, out, _ = membench("inspect", trained[1].with_suffix(".pt"), "--out", tmp_path, "--json")
        assert code == 0
        found = json.loads(out)
        assert {"page", "phases", "retention", "utilisation", "attention"} <= found.keys()
        assert len(found["phases"]) == 9

    def test_names_the_nearest_run(self, trained, membench):
        _, place = trained
        code, _, err = membench("inspect", place.with_name("gru_pmm-h3-s0.json"))
        assert code == 2 and err.count("\n") == 1
        assert f"did you mean {place.with_suffix('')}? (1 record lies there)" in err

    def test_says_where_there_is_no_run(self, membench, tmp_path):
        code, _, err = membench("inspect", tmp_path / "runs" / "x")
        assert code == 2 and "no such record (legal: RESULTS/runs/ID" in err

    def test_says_that_weights_are_missing_or_others(self, trained, membench, tmp_path):
        _, place = trained
        copy = tmp_path / "runs" / place.name
        copy.parent.mkdir()
        copy.write_bytes(place.read_bytes())
        code, _, err = membench("inspect", copy)
        assert code == 2 and "has no weights" in err
        torch.save({"x": torch.zeros(1)}, copy.with_suffix(".pt"))
        code, _, err = membench("inspect", copy)
        assert code == 2 and err.count("\n") == 1 and "not the weights of this gru_pmm" in err


def test_a_run_that_is_looked_into_has_the_same_record_as_one_that_is_not(monkeypatch):
    config = build_config(
        {
            "architecture": "gru_pmm",
            "memory": {"hidden_size": 8, "num_slots": 4, "slot_size": 4},
            "task": {"horizon": 2},
            "total_timesteps": 512,
            "evaluation": {"interval": 128, "num_episodes": 8, "num_final_episodes": 8},
        }
    )
    looked_into = train(config)
    nothing = utilisation_module.Utilisation(1.0, 0.5)
    monkeypatch.setattr("membench.training.utilisation_at_end", lambda memory, x: nothing)
    not_looked_into = train(config)
    assert len(looked_into.curve) >= 4
    assert results_of(looked_into) == results_of(not_looked_into)
    assert all(point.memory_norm not in (None, 0.0, 1.0) for point in looked_into.curve)


def results_of(record):
    """Return what a record holds, without timings, memory, and what looking inside has found."""
    from membench.records import MEASURED_ON_THE_MACHINE

    fields = msgspec.to_builtins(record)
    for name in MEASURED_ON_THE_MACHINE:
        fields.pop(name)
    for point in fields["curve"]:
        for name in ("seconds", "memory_norm", "memory_saturation"):
            point.pop(name)
    return fields


def test_looking_does_not_change_what_the_agent_answers():
    agent = agent_with(Notebook())
    observations = torch.eye(4).unsqueeze(1)
    before = agent.evaluate(observations)[0]
    look(agent, TASK)
    assert torch.equal(agent.evaluate(observations)[0], before)


def test_a_page_says_what_does_not_apply(tmp_path, trained):
    config = build_config({"architecture": "gru", "memory": {"hidden_size": 8}, "task": {"horizon": 2}})
    task = make_task(config.task)
    found = look(build_agent(config, task), task)
    page = write_inspection(tmp_path, read_record(trained[1]), found).page.read_text()
    assert "Does not apply. Attention: this memory records none." in page
    assert "Does not apply. Causal shares: hidden is the only part of the state that differs" in page
    assert 'id="figure-attention"' not in page and 'id="figure-interventions"' not in page
    assert "The answer comes from hidden, the only part" in carried(found)


def test_captions_speak_of_what_is_drawn(tmp_path, trained):
    said = ("swapping a single slot", "range of norms is about slots", "the weights of attention")
    record = read_record(trained[1])
    with_slots = write_inspection(tmp_path / "slots", record, FAULTS["none"]()).page.read_text()
    assert all(words in with_slots for words in said)
    without = write_inspection(tmp_path / "none", record, look(walker(back=1.0), MAZE)).page.read_text()
    assert not any(words in without for words in said)
    for page in (with_slots, without):
        assert "Chance: the share of the most frequent answer" in page
        assert page.index("the Memory Architecture Deep Dive") < page.index("the document&#39;s three")
        assert '<th scope="col">Phase</th>' in page


def drawn_colours(axes):
    """The colour of each line of a panel's figure, by its name in the legend."""
    (legend,) = axes.figure.legends
    return {
        text.get_text(): line.get_color()
        for text, line in zip(legend.get_texts(), legend.get_lines(), strict=False)
    }


def test_a_part_of_the_state_has_one_colour_in_every_figure():
    found = FAULTS["none"]()
    draw = (utilisation_figure, interventions_figure, retention_figure)
    colours = [drawn_colours(figure(found).axes[0]) for figure in draw]
    memory, hidden = ({one[name] for one in colours} for name in ("memory", "hidden"))
    assert len(memory) == len(hidden) == 1 and memory != hidden
    speed = hidden_figure(found).axes[1].lines[0]
    assert {speed.get_color()} == hidden


def test_places_of_slots_have_the_colour_of_their_part():
    found = FAULTS["none"]()
    found = dataclasses.replace(found, slot_parts=["memory.short", "memory.long"])
    looks = part_looks(found, ["memory", "hidden", "memory.short", "memory.long"])
    colours = {name: look["color"] for name, look in looks.items()}
    assert colours["memory"] == colours["memory.short"] == colours["memory.long"] != colours["hidden"]
    assert len({look["marker"] for look in looks.values()}) == 4


def test_no_place_is_named_where_attention_is_uniform():
    found = FAULTS["identical slots"]()
    assert attended(found) == (
        "At the query, write attention is uniform over 2 slots and read attention is uniform over 2 slots."
    )
    assert set(attention_table(found).shown["Most on"]) == {"—"}
    assert "read uniform" in in_words(found)[0]
    assert "most on slot 0, weight 1.00" in attended(FAULTS["none"]())
