"""A results folder or a suite file from a stranger runs no code, and writes and injects nothing."""

import ast
import json
import os
import pickle
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from test_cli import TINY_SUITE
from test_report import make_record

from membench.agent import build_agent
from membench.config import build_config
from membench.envs import make_task
from membench.errors import InputError
from membench.folders import record_path, runs_folder, weights_path
from membench.plan import Plan, plan_or_none, set_aside_plan, write_plan
from membench.records import read_records, write_record
from membench.train import load_agent

EVIL_MODULE = "from pathlib import Path\nPath('executed').touch()\nclass Evil: pass\n"
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
COMMANDS = [["report"], ["status"], ["status", "--json"]]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a module in it that must not be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    for name in ("evil_module", "mamba_ssm"):
        (tmp_path / f"{name}.py").write_text(EVIL_MODULE)
    yield tmp_path
    assert not (tmp_path / "executed").exists()


def record_of(architecture, memory=None, **fields):
    config = build_config({"architecture": architecture, "memory": memory or {}, "task": {"horizon": 10}})
    record = make_record(architecture, **fields)
    return msgspec.structs.replace(record, config=config, run_id=config.run_id)


def results_of(folder, *records, question="Why?", suite="theirs"):
    results = folder / "results"
    runs_folder(results).mkdir(parents=True, exist_ok=True)
    for record in records:
        write_record(results, record)
    configs = [record.config for record in records]
    write_plan(results, Plan(suite=suite, profile="quick", question=question, command="", configs=configs))
    return results


@pytest.mark.parametrize("name", ["evil_module:Evil", "os:system", "mamba_ssm:Evil"])
def test_a_suite_file_does_not_choose_what_is_imported(name, folder, membench):
    suite = folder / "theirs.toml"
    suite.write_text(TINY_SUITE.replace('"lstm"]', f'"{name}"]'))
    code, _, err = membench("run", "--suite", suite, "--out", "out")
    assert code == 2 and err.count("\n") == 1
    assert f"architecture {name!r}: importing it runs its code" in err
    assert f"--architectures gru,{name}" in err
    assert not (folder / "out").exists()


def test_optional_packages_are_not_looked_for_in_the_working_directory(folder, membench):
    for name in ("gru", "mamba"):
        assert membench("describe", name)[0] == 0
    assert "mamba_ssm" not in sys.modules and str(folder) not in sys.path


@pytest.mark.parametrize("command", COMMANDS[:2], ids=" ".join)
def test_a_results_folder_imports_nothing(command, folder, membench):
    results = results_of(folder, record_of("evil_module:Evil"), record_of("os:system"))
    code, _, err = membench(command[0], results, *command[1:])
    assert code == 0, err
    assert "evil_module" not in sys.modules


@pytest.mark.parametrize("run_id", ["../../outside", "/tmp/outside", "..", "a/b", ".hidden", "x\x00y", ""])
def test_a_name_in_a_record_is_no_path(run_id, folder):
    results = results_of(folder, record := make_record())
    text = record_path(results, record.run_id).read_text().replace(f'"{record.run_id}"', json.dumps(run_id))
    (runs_folder(results) / "one.json").write_text(text)
    records, complaints = read_records(results)
    assert records == [record] and "one.json: not a record of membench (run_id" in complaints[0]


def test_links_and_pipes_in_the_place_of_records_are_not_read(folder, membench):
    results = results_of(folder, make_record())
    secret = folder / "secret.json"
    secret.write_text('{"run_id": "a secret"}')
    (runs_folder(results) / "link.json").symlink_to(secret)
    os.mkfifo(runs_folder(results) / "pipe.json")
    (runs_folder(results) / "folder.json").mkdir()
    (results / "runs.jsonl").symlink_to(secret)
    code, out, err = membench("status", results)
    assert code == 2 and "runs.jsonl: not a plain file" in err
    (results / "runs.jsonl").unlink()
    code, out, err = membench("status", results)
    assert code == 0 and err.count("not a plain file, so it is not read") == 3
    assert "a secret" not in out + err


@pytest.mark.parametrize("name", ["progress", "progress/ID.json", "logs", "logs/ID.log", "checkpoints"])
def test_nothing_is_noted_through_links(name, folder, membench):
    results = results_of(folder, make_record())
    outside = folder / "outside"
    outside.mkdir()
    place = results / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    suite = folder / "tiny.toml"
    suite.write_text(TINY_SUITE)
    code, _, err = membench("run", "--suite", suite, "--out", results)
    assert code == 2 and f"{place}: a symbolic link, which could lead out" in err
    assert not list(outside.iterdir())


def test_a_plan_is_not_read_through_a_link(folder):
    results = results_of(folder, make_record())
    (results / "plan.json").rename(folder / "outside.json")
    (results / "plan.json").symlink_to(folder / "outside.json")
    assert "plan.json: not a plain file" in plan_or_none(results)[1][0]
    assert "plan.json: not a plain file" in set_aside_plan(results)[0]
    assert not (results / "plan.json").is_symlink() and (folder / "outside.json").exists()


@pytest.mark.parametrize("name", ["tables", "plots", "runs", "tensorboard", "set-aside"])
def test_a_folder_that_leads_out_is_not_written_into(name, folder, membench):
    results = results_of(folder, make_record())
    outside = folder / "outside"
    if name == "runs":
        runs_folder(results).rename(outside)
    else:
        outside.mkdir()
    (results / name).symlink_to(outside)
    before = sorted(outside.iterdir())
    code, _, err = membench("report", results)
    assert code == 2 and f"{results / name}: a symbolic link" in err
    assert sorted(outside.iterdir()) == before


def test_a_report_replaces_links_and_does_not_write_through_them(folder, membench):
    results = results_of(folder, make_record())
    outside = folder / "outside"
    outside.write_text("precious")
    (results / "tables").mkdir()
    for place in (results / "report.md", results / "report.html", results / "tables" / "runs.csv"):
        place.symlink_to(outside)
    assert membench("report", results)[0] == 0
    assert outside.read_text() == "precious"


NAME = r"\input{/etc/passwd}$\bad{%&#_^~"
FORMULAS = ["=cmd|' /C calc'!A0", "+1:X", "-1:X", "@SUM(A1):X"]


@pytest.fixture
def attacked(folder):
    """A results folder whose every text tries something."""
    settings = ({"num_slots": value, "x": value} for value in (r"$\frac$", "[a](javascript:b)", 3))
    records = [
        *(record_of(NAME, memory) for memory in settings),
        *map(record_of, FORMULAS),
        record_of(f"a{ESCAPE}:B"),
        record_of("c:D", status="failed", error=f"{ESCAPE}\x9b2J\r\n[bold]x[/nonsense]"),
    ]
    question = f"[/red]{ESCAPE} ![x](http://x) <img src=x>?"
    results = results_of(folder, *records, question=question, suite=f"{ESCAPE}[link=x]")
    (runs_folder(results) / f"{ESCAPE}.json").write_text(json.dumps({f"{ESCAPE}": 1, "run_id": ESCAPE}))
    return results


@pytest.mark.parametrize("command", [*COMMANDS, ["claims"], ["report", "--json"]], ids=" ".join)
def test_nothing_in_a_results_folder_speaks_to_the_terminal(command, attacked, membench, monkeypatch):
    monkeypatch.setattr("membench.report.figures_for", lambda frame: {})  # they take long
    code, out, err = membench(command[0], attacked, *command[1:])
    assert code == 0, err
    assert not {letter for letter in out + err if not letter.isprintable()} - {"\n"}


def test_a_report_holds_text_alone(attacked, membench):
    code, _, err = membench("report", attacked)
    assert code == 0, err
    latex = "".join(path.read_text() for path in (attacked / "tables").glob("*.tex"))
    assert r"\input" not in latex and r"\frac" not in latex and r"\textbackslash" in latex
    markdown = (attacked / "report.md").read_text()
    assert "![x]" not in markdown and "<img" not in markdown and "[a](java" not in markdown
    page = (attacked / "report.html").read_text()
    assert 'src="http' not in page and 'href="java' not in page and "<img src=x" not in page
    csv = "".join(path.read_text() for path in (attacked / "tables").glob("*.csv"))
    cells = [cell.strip('"') for line in csv.splitlines() for cell in line.split(",")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "-1:"))]
    assert any(cell.startswith("'=cmd") for cell in cells)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_weights_run_no_code(folder):
    record = make_record()
    results = results_of(folder, record)
    path = weights_path(results, record.run_id)
    path.write_bytes(pickle.dumps({"x": Bomb()}, protocol=2))
    with pytest.raises(InputError, match="UnpicklingError"):
        load_agent(record.config, path)


class TestInspect:
    """`membench inspect` of a stranger's run."""

    def place_of(self, folder, record):
        results = results_of(folder, record)
        path = weights_path(results, record.run_id)
        path.write_bytes(pickle.dumps({"x": Bomb()}, protocol=2))
        return path

    def test_loads_no_code_with_the_weights(self, folder, membench):
        code, _, err = membench("inspect", self.place_of(folder, record_of("gru")))
        assert code == 2 and err.count("\n") == 1 and "not the weights of this gru" in err

    @pytest.mark.parametrize("name", ["evil_module:Evil", "os:system"])
    def test_imports_nothing_that_a_record_names(self, name, folder, membench):
        code, _, err = membench("inspect", self.place_of(folder, record_of(name)))
        assert code == 2 and err.count("\n") == 1
        assert f"architecture {name!r}: importing it runs its code" in err
        assert f"--architecture {name}" in err
        assert "evil_module" not in sys.modules

    def test_imports_what_the_user_names(self, folder, membench):
        (folder / "good_module.py").write_text(
            "from architectures.gru import GRU\nclass Good(GRU):\n    pass\n"
        )
        record = record_of("good_module:Good", memory={"hidden_size": 4})
        place = self.place_of(folder, record)
        task = make_task(record.config.task)
        torch.save(build_agent(record.config, task).state_dict(), place)
        code, _, err = membench("inspect", place, "--architecture", "good_module:Good")
        assert code == 0, err
        assert "Good" in next(folder.glob("results/inspect/*/inspect.html")).read_text()

    def test_is_not_led_out_of_the_results_folder(self, folder, membench):
        record = record_of("gru")
        place = self.place_of(folder, record)
        torch.save(build_agent(record.config, make_task(record.config.task)).state_dict(), place)
        (folder / "elsewhere").mkdir()
        (folder / "results" / "inspect").mkdir()
        (folder / "results" / "inspect" / record.run_id).symlink_to(folder / "elsewhere")
        code, _, err = membench("inspect", place)
        assert code == 2 and "a symbolic link" in err
        assert not list((folder / "elsewhere").iterdir())

    def test_reads_no_link(self, folder, membench):
        place = self.place_of(folder, record_of("gru"))
        place.rename(folder / "weights")
        place.symlink_to(folder / "weights")
        code, _, err = membench("inspect", place)
        assert code == 2 and "not a plain file" in err

    def test_episodes_have_an_end(self, folder, membench):
        record = record_of("gru")
        task = msgspec.structs.replace(record.config.task, horizon=10**9)
        config = msgspec.structs.replace(record.config, task=task)
        record = msgspec.structs.replace(record, config=config, horizon=10**9)
        code, _, err = membench("inspect", self.place_of(folder, record))
        assert code == 2 and "too long to look into" in err


def test_nothing_unpickles_what_it_reads():
    root = Path(__file__).parent.parent
    for folder in ("membench", "architectures", "examples"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    call = ast.unparse(node.func)
                    stated = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                    assert call not in ("eval", "exec", "pickle.load", "pickle.loads", "np.load"), path
                    assert call != "torch.load" or stated.get("weights_only") == "True", path
