"""Where records come from: what differs is said, and marked in the tables that it touches."""

import re
import subprocess
import sys

import msgspec
import pytest
from test_report import make_record, read_table, write

from membench import describe
from membench.folders import make_results_folder
from membench.plan import Plan, write_plan
from membench.provenance import code_origins, differences, machine_origins, mixtures, numbered
from membench.records import write_record

OTHER_MACHINE = {"system": "Linux", "processor": "another processor", "cores": 64}
NEWER = {"membench": "0.2.0", "python": "3.11.7"}


def made(name, seed, day, **fields):
    return make_record(name, seed=seed, finished_at=f"2026-01-0{day}T00:00:00+00:00", **fields)


@pytest.fixture
def records():
    """GRU by two versions, LSTM on two machines and the newer version, Mamba by the newer version."""
    return [
        made("gru", 0, 1),
        made("gru", 1, 2, versions=NEWER),
        made("lstm", 0, 3, versions=NEWER),
        made("lstm", 1, 2, versions=NEWER, machine=OTHER_MACHINE),
        made("mamba", 0, 3, versions=NEWER),
    ]


def test_origins_are_numbered_the_newest_first(records):
    numbers = numbered(code_origins(records), records)
    assert numbers == {"membench 0.2.0, python 3.11.7": 1, "membench 0.1.0, python 3.11.7": 2}


def test_tables_mark_what_they_mix(records, tmp_path):
    _, content = write(tmp_path, records)
    codes = {"gru": "1, 2", "lstm": "1", "mamba": "1"}
    machines = {"gru": "1", "lstm": "1, 2", "mamba": "1"}
    for name in ("success", "cost", "steps_to_solved"):
        found = read_table(tmp_path, name).reset_index().set_index("architecture").astype(str)
        assert found.code.to_dict() == codes, name
        assert ("machine" in found) == (name != "success")  # shares of right answers are no timings
        assert name == "success" or found.machine.to_dict() == machines
    runs = read_table(tmp_path, "runs")
    assert runs.code.tolist() == [2, 1, 1, 1, 1] and runs.machine.tolist() == [1, 1, 1, 2, 1]
    assert "2, 1 runs: membench 0.1.0" in content and "2, 1 runs: processor another processor" in content
    assert content.count("different code or libraries") == content.count("different machines") == 1
    assert {" Code ", " Machine "} <= set(re.split("[|]+", content.replace("  ", "")))


def test_tables_of_one_origin_have_no_marks(tmp_path):
    _, content = write(tmp_path, [made("gru", 0, 1), made("lstm", 0, 2)])
    assert "different" not in content.partition("## ")[0] and " Code " not in content
    assert "code" not in read_table(tmp_path, "cost") and "machine" not in read_table(tmp_path, "runs")


def test_claims_say_what_they_mix(records, tmp_path, membench):
    make_results_folder(tmp_path)
    for record in records:
        write_record(tmp_path, record)
    configs = [record.config for record in records]
    write_plan(tmp_path, Plan(suite="horizons", profile="quick", question="?", command="", configs=configs))
    code, _, err = membench("claims", tmp_path)
    assert code == 0 and "Runs of different code" in err and "Runs of different machines" in err


def test_the_file_of_one_s_own_memory_counts_for_that_memory_alone():
    one, other = ({"membench": "0.1.0", "memory": digest} for digest in ("a", "b"))
    assert (
        mixtures([made("x:X", 0, 1, versions=one), made("gru", 0, 1, versions={"membench": "0.1.0"})]) == []
    )
    assert mixtures([made("x:X", 0, 1, versions=one), made("y:Y", 0, 1, versions=other)]) == []
    (sentence,) = mixtures([made("x:X", 0, 1, versions=one), made("x:X", 1, 1, versions=other)])
    assert "different code" in sentence


def test_a_commit_alone_is_no_difference_and_what_is_not_stated_is():
    assert differences({"torch": "2", "commit": "a"}, {"torch": "2", "commit": "b"}) == []
    assert differences({"torch": "2"}, {"torch": "2", "code": "b"}) == ["code not stated, here b"]


def test_the_digest_of_the_code_follows_its_source(tmp_path):
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "b.py").write_text("")
    first = describe._digest(tmp_path.glob("*.py"))
    (tmp_path / "a.py").write_text("x = 2")
    assert first != (second := describe._digest(tmp_path.glob("*.py")))
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert describe._digest(tmp_path.glob("*.py")) not in (first, second)
    assert describe.versions("gru")["code"] == describe.CODE_DIGEST and "memory" not in describe.versions(
        "gru"
    )


def test_versions_tell_the_source_of_one_s_own_memory(tmp_path):
    code = "from membench.describe import versions; print(versions('own_memory:Own')['memory'])"
    source = "from architectures.gru import GRU\n\nclass Own(GRU):\n    pass\n"
    digests = []
    for text in (source, source + "# edited\n"):
        (tmp_path / "own_memory.py").write_text(text)
        command = [sys.executable, "-B", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
        digests.append(done.stdout)
    assert digests[0] != digests[1]


def test_records_hold_where_they_come_from():
    versions = describe.versions()
    assert {"membench", "python", "torch", "numpy", "gymnasium", "code"} <= versions.keys()
    assert {"system", "processor", "cores"} <= describe.machine("cpu").keys()
    assert msgspec.json.decode(msgspec.json.encode(versions), type=dict[str, str]) == versions


def test_what_a_gpu_timed_is_told_from_what_another_did(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    records = [made("gru", 0, 1, machine=describe.machine("cpu"))]
    for name in ("one GPU", "another GPU"):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device, name=name: name)
        records.append(made("gru", len(records), 1, machine=describe.machine("cuda")))
    origins = machine_origins(records)
    assert len(set(origins)) == 3 and "gpu another GPU" in origins[2] and "gpu" not in origins[0]
