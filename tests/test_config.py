"""Configurations: what is accepted, what is refused and in which words."""

import hashlib
import json
from typing import get_args

import msgspec
import pytest

from architectures import ARCHITECTURES
from membench.catalogue import build_memory, check_memory_options, load_architecture, memory_options
from membench.config import RunConfig, build_config, merge, nest, to_settings
from membench.errors import InputError
from membench.memory import PositiveInt


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("task.horizon", -3, r"task\.horizon: Expected `int` >= 0 \(got -3\)"),
        ("task.horizon", "far", r"task\.horizon: Expected `int`, got `str` \(got 'far'\)"),
        ("ppo.learning_rate", 0, r"ppo\.learning_rate: Expected `float` > 0"),
        ("ppo.learning_rate", float("inf"), r"ppo\.learning_rate: Expected a finite number \(got inf\)$"),
        ("ppo.discount", float("nan"), r"ppo\.discount: Expected a finite number"),
        ("ppo.discount", 1.5, r"ppo\.discount: Expected `float` <= 1"),
        ("ppo.learning_rat", 1e-3, r"key in ppo 'learning_rat': unknown; did you mean 'learning_rate'\?"),
        ("sed", 1, r"key 'sed': unknown; did you mean 'seed'\?"),
        ("device", "tpu", r"device: must be cpu, cuda, or cuda:N as in cuda:0 \(got 'tpu'\)$"),
        ("agent.head", "softmax", r"agent\.head 'softmax': unknown \(legal: categorical, gaussian\)$"),
        ("agent.head", "Gausian", r"agent\.head 'Gausian': unknown; did you mean 'gaussian'\? \(legal: "),
        ("agent.head", 3, r"agent\.head '3': unknown \(legal: categorical, gaussian\)$"),
        ("ppo.num_minibatches", 64, r"ppo\.num_minibatches 64: must be at most ppo\.num_envs 32"),
        ("ppo.entropy_end", 0.0, r"entropy_start and ppo\.entropy_end"),
        ("memory.size", float("nan"), r"memory\.size: Expected a finite number"),
    ],
)
def test_refusals_name_the_field_the_value_and_what_is_legal(field, value, message):
    with pytest.raises(InputError, match=message):
        build_config(merge({"architecture": "gru"}, nest(field, value)))


def test_settings_round_trip():
    config = build_config({"architecture": "gru", "memory": {"hidden_size": 8}, "task": {"horizon": 3}})
    assert build_config(to_settings(config)) == config
    assert msgspec.json.decode(msgspec.json.encode(config), type=RunConfig) == config


def test_later_layers_win_field_by_field():
    assert merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"d": 4}) == {"a": {"b": 1, "c": 3}, "d": 4}


def test_a_run_id_is_stable_and_tells_configurations_apart():
    config = build_config({"architecture": "gru"})
    assert config.run_id == build_config({"architecture": "gru"}).run_id
    others = [{"seed": 1}, {"ppo": {"learning_rate": 1e-4}}, {"memory": {"hidden_size": 9}}]
    ids = {build_config(merge({"architecture": "gru"}, other)).run_id for other in others}
    assert len(ids | {config.run_id}) == 4


def test_a_run_id_holds_what_departs_from_the_defaults_and_nothing_else():
    # What a default is today, stated or not, must not matter: else every new field would rename old runs.
    stated = [1, {"architecture": "gru", "memory.hidden_size": 9, "task.horizon": 5}]
    digest = hashlib.sha256(json.dumps(stated, separators=(",", ":")).encode()).hexdigest()[:12]
    settings = {"architecture": "gru", "memory": {"hidden_size": 9}, "task": {"horizon": 5, "num_cues": 4}}
    assert build_config(settings).run_id == f"gru-h5-s0-{digest}"


@pytest.mark.parametrize("architecture", ["../../etc/x:Y", "a/b:C", "..", "<script>:X"])
def test_a_run_id_is_a_plain_file_name(architecture):
    run_id = build_config({"architecture": architecture}).run_id
    assert not run_id.startswith(".")
    assert set(run_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_an_option_that_an_architecture_lacks_is_answered_with_those_that_it_has():
    with pytest.raises(
        InputError, match=r"memory of 'gru': key 'hidden': unknown; did you mean 'hidden_size'"
    ):
        check_memory_options("gru", {"hidden": 3})


def test_option_types_are_checked():
    with pytest.raises(InputError, match=r"hidden_size: Expected `int`, got `str`"):
        check_memory_options("gru", {"hidden_size": "big"})


def wrong_numbers(annotation, value):
    """Return values that no size or count can have; none for an option that is neither."""
    if isinstance(value, tuple):
        return [[wrong, *value[1:]] for wrong in (0, -1) if isinstance(value[0], int)]
    counts = type(value) is int or PositiveInt in get_args(annotation)
    return [0, -1, -3] * counts


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_and_counts_are_at_least_one(architecture):
    for name, option in memory_options(architecture).items():
        for wrong in wrong_numbers(option.annotation, option.default):
            with pytest.raises(InputError, match=rf"{name}(\.0)?: Expected `int` >= 1 \(got -?\d\)"):
                check_memory_options(architecture, {name: wrong})


def test_an_option_of_one_s_own_may_be_zero(tmp_path, monkeypatch):
    text = (
        "from membench.memory import Memory\n"
        "class Shifted(Memory):\n"
        "    def __init__(self, input_size, *, shift: int = 1): pass\n"
        "    def initial_state(self, batch_size): pass\n"
        "    def forward(self, x, state, *, trace=None): pass\n"
    )
    (tmp_path / "shifted.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert check_memory_options("shifted:Shifted", {"shift": 0}) == {"shift": 0}


def test_the_word_none_stands_for_none_where_an_option_takes_it():
    assert check_memory_options("gru", {"gate_timescales": "none"}) == {"gate_timescales": None}
    with pytest.raises(InputError, match="hidden_size"):
        check_memory_options("gru", {"hidden_size": "none"})


def test_what_a_class_refuses_is_an_input_error():
    with pytest.raises(InputError, match=r"memory of 'transformer': hidden_size 10: must be a multiple"):
        build_memory("transformer", 4, {"hidden_size": 10}, context_length=5)


def test_a_cache_may_be_longer_than_it_must_be_but_not_shorter():
    assert build_memory("transformer", 4, {"context_length": 9}, context_length=7).context_length == 9
    assert build_memory("transformer", 4, {}, context_length=7).context_length == 7
    with pytest.raises(InputError, match=r"context_length 6: must be at least 7, the steps"):
        build_memory("transformer", 4, {"context_length": 6}, context_length=7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grru", "did you mean 'gru'"),
        ("no_such_module:Thing", "cannot import"),
        ("architectures.gru:GRRU", r"did you mean 'architectures.gru:GRU'\? \(legal: [^,]*\)"),
        ("architectures:GRU", r"architecture 'architectures:GRU': unknown \(legal: there is none\)"),
        ("architectures.gru:run_gru", "must be a class derived from"),
        ("membench.memory:Memory", "the class has no forward and no initial_state"),
    ],
)
def test_a_name_that_is_no_architecture(name, message):
    with pytest.raises(InputError, match=message):
        load_architecture(name)


def test_a_label_tells_tasks_of_one_horizon_apart():
    plain = build_config({"architecture": "gru", "task": {"horizon": 50}})
    flagged = build_config({"architecture": "gru", "task": {"horizon": 50, "query_flag": True}, "seed": 2})
    told = build_config({"architecture": "gru", "objective": "supervised"})
    assert plain.label == "gru, horizon 50, seed 0"
    assert flagged.label == "gru, horizon 50, query_flag=True, seed 2"
    assert told.label == "gru, horizon 20, supervised, seed 0"
