"""Bad input: whatever a configuration, a suite file or a record says, it has a valid meaning or is refused.

Refused means one sentence that names the place and the key; no traceback, nothing written.
"""

import json
import math
import shutil
import tomllib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cli import TINY_SUITE
from test_report import make_record

from membench.config import RunConfig, build_config, flatten, merge, nest, to_settings
from membench.errors import InputError
from membench.execute import check_runnable
from membench.folders import runs_folder
from membench.frame import to_frame
from membench.records import RunRecord, read_records, write_record
from membench.report import all_tables
from membench.report.frame import tidy
from membench.suite import load_suite, plan_runs

QUICK = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

BASE = to_settings(
    RunConfig(architecture="gru", memory={"hidden_size": 8, "num_layers": 1}, seed=3, total_timesteps=400)
)
FIELDS = sorted(flatten(BASE))

numbers = st.sampled_from(
    [
        0,
        1,
        2,
        7,
        -1,
        0.5,
        -0.0,
        1.7,
        1e-320,
        1e308,
        math.inf,
        -math.inf,
        math.nan,
        2**31,
        2**53,
        2**63,
        10**30,
    ]
)
values = st.one_of(
    numbers,
    st.sampled_from(["", "none", "../x", "\x1b[2J", "a" * 5_000, True, False, None]),
    st.lists(numbers, max_size=2),
    st.dictionaries(st.sampled_from(["", "horizon", "x"]), numbers, max_size=2),
    st.just([[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]),
)
fields = st.one_of(st.sampled_from(FIELDS), st.sampled_from(["memory.x", "x", "task", "ppo", "task.x"]))


def is_finite(value):
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    if isinstance(value, list):
        return all(map(is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def is_one_sentence(error):
    return 0 < len(str(error)) < 2_000


@settings(QUICK, max_examples=200)
@given(field=fields, value=values)
def test_a_configuration_is_accepted_with_a_meaning_or_refused_by_key(field, value):
    try:
        config = build_config(merge(BASE, nest(field, value)))
    except InputError as error:
        assert field.split(".")[0] in str(error) and is_one_sentence(error)
        return
    assert is_finite(to_settings(config))
    assert msgspec.json.decode(msgspec.json.encode(config), type=RunConfig) == config


@settings(QUICK, max_examples=25)
@given(field=fields, value=values)
def test_what_is_accepted_can_be_built_or_is_refused(field, value):
    try:
        check_runnable([build_config(merge(BASE, nest(field, value)))])
    except InputError as error:
        assert is_one_sentence(error)


def toml(value):
    """Return a value as TOML, what TOML lacks as text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(str(value) if value is None else value)


LINES = TINY_SUITE.splitlines()
ASSIGNMENTS = [number for number, line in enumerate(LINES) if " = " in line]


@QUICK
@given(number=st.sampled_from(ASSIGNMENTS), value=values)
def test_a_suite_file_is_accepted_with_a_meaning_or_refused_by_file(number, value, tmp_path):
    lines = [*LINES]
    lines[number] = f"{lines[number].split(' = ')[0]} = {toml(value)}"
    path = tmp_path / "mutated.toml"
    path.write_text("\n".join(lines))
    try:
        configs = plan_runs(load_suite(str(path)), "quick", source=str(path))
        check_runnable(configs)
    except InputError as error:
        assert is_one_sentence(error)
        return
    assert configs and all(is_finite(to_settings(config)) for config in configs)


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"\x00",
        b"a = " + b"[" * 3_000 + b"]" * 3_000,
        b"a = " + b"9" * 5_000,
        b"",
        TINY_SUITE.replace("seeds = 2", "seeds = 999_999_999_999").encode(),
        TINY_SUITE.replace("hidden_size = 8", "hidden_size = 999_999_999").encode(),
        TINY_SUITE.replace("num_layers = 1", "num_layers = 999_999_999").encode(),
    ],
)
def test_a_file_that_is_no_suite_is_one_line_and_writes_nothing(text, membench, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(text)
    code, out, err = membench("run", "--suite", path, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "broken.toml" in err and not (tmp_path / "out").exists()


RECORD = msgspec.to_builtins(make_record(rungs=[], seconds_to_solved=20.0))
RECORD["curve"] = RECORD["curve"][:2]
PATHS = sorted(
    {path.replace("curve", "curve.0") for path in flatten(RECORD)} | {"curve.0.kl", "curve.0.success"}
)


def mutated(record, path, value):
    changed = json.loads(json.dumps(record))
    place = changed
    *parents, last = path.split(".")
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[int(last) if isinstance(place, list) else last] = value
    return changed


@QUICK
@given(path=st.sampled_from(PATHS), value=values)
def test_a_record_is_accepted_with_a_meaning_or_refused_by_path_and_key(path, value, tmp_path):
    shutil.rmtree(runs_folder(tmp_path), ignore_errors=True)
    runs_folder(tmp_path).mkdir()
    file = runs_folder(tmp_path) / "one.json"
    file.write_text(json.dumps(mutated(RECORD, path, value)))  # with NaN and Infinity, as Python writes them
    records, complaints = read_records(tmp_path)
    assert len(records) + len(complaints) == 1
    if complaints:
        assert str(file) in complaints[0] and len(complaints[0]) < 2_000
        return
    (record,) = records
    assert is_finite(msgspec.to_builtins(record))
    file.unlink()
    write_record(tmp_path, record)
    assert read_records(tmp_path) == ([record], [])
    all_tables(tidy(to_frame([record, make_record(seed=1), make_record("lstm")])))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("steps", -1, "steps: Expected `int` >= 0 (got -1)"),
        ("success", 1.7, "success: Expected `float` <= 1.0 (got 1.7)"),
        ("curve.0.success", -0.5, "curve.0.success: Expected `float` >= 0.0 (got -0.5)"),
        ("chance", "much", "chance: Expected `float`, got `str`"),
        ("run_id", "../../x", "run_id: Expected `str` matching regex"),
        ("run_id", "a" * 300, "run_id: Expected `str` matching regex"),
        ("run_id", "x\n", "run_id: Expected `str` matching regex"),
        ("architecture", "lstm", "architecture 'lstm': must be that of its config, 'gru'"),
        ("seed", 5, "seed 5: must be that of its config, 0"),
        ("config.task.name", "Bogus-v0", "task 'CueMemory-v0': must be that of its config"),
        ("config.ppo.discount", 3, "config.ppo.discount: Expected `float` <= 1.0"),
    ],
)
def test_what_a_record_cannot_say_is_refused_with_path_and_key(path, value, complaint, tmp_path):
    runs_folder(tmp_path).mkdir()
    file = runs_folder(tmp_path) / "one.json"
    file.write_text(json.dumps(mutated(RECORD, path, value)))
    records, complaints = read_records(tmp_path)
    assert not records
    assert complaints[0].startswith(f"{file}: ") and complaint in complaints[0]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("path", ["success", "curve.0.learning_rate", "config.memory", "config.ppo.discount"])
def test_a_number_that_is_not_finite_is_refused(number, path, tmp_path):
    runs_folder(tmp_path).mkdir()
    placeholder = {"hidden_size": "HERE"} if path == "config.memory" else "HERE"
    text = json.dumps(mutated(RECORD, path, placeholder)).replace('"HERE"', number)
    (runs_folder(tmp_path) / "one.json").write_text(text)
    records, complaints = read_records(tmp_path)
    assert not records and "one.json" in complaints[0]


REQUIRED = {field.name for field in msgspec.structs.fields(RunRecord) if field.required}


@pytest.mark.parametrize("field", sorted(RECORD))
def test_a_record_without_a_field_or_with_one_of_another_type(field, tmp_path):
    runs_folder(tmp_path).mkdir()
    file = runs_folder(tmp_path) / "one.json"
    without = {key: value for key, value in RECORD.items() if key != field}
    file.write_text(json.dumps(without))
    records, complaints = read_records(tmp_path)
    assert len(records) + len(complaints) == 1
    assert bool(complaints) == (field in REQUIRED)
    assert all(str(file) in complaint and f"`{field}`" in complaint for complaint in complaints)
    file.write_text(json.dumps(RECORD | {field: {"x": [object.__name__]}}))
    records, complaints = read_records(tmp_path)
    assert not records and str(file) in complaints[0] and field in complaints[0]


def test_a_record_truncated_at_every_byte_is_named(tmp_path):
    path = write_record_of(tmp_path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        records, complaints = read_records(tmp_path)
        assert not records and complaints[0].startswith(f"{path}: not a record of membench"), length
    path.write_bytes(content)
    assert len(read_records(tmp_path)[0]) == 1


def write_record_of(folder):
    runs_folder(folder).mkdir()
    return write_record(folder, make_record(steps=2_000))


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe\x00", b"[" * 100_000, b'{"run_id": ' + b"9" * 5_000 + b"}"],
)
def test_a_foreign_file_is_named(content, tmp_path):
    runs_folder(tmp_path).mkdir()
    (runs_folder(tmp_path) / "x.json").write_bytes(content)
    records, complaints = read_records(tmp_path)
    assert not records and "x.json: not a record of membench" in complaints[0]


def test_toml_of_these_tests_is_toml():
    assert tomllib.loads(f"x = {toml({'a': [1, 'b', True]})}") == {"x": {"a": [1, "b", True]}}
