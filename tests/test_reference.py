"""The committed results: the same records give the same tables, byte for byte."""

from pathlib import Path

import matplotlib
import pytest

REFERENCE = Path(__file__).parent.parent / "results" / "reference"
FOLDERS = sorted(path.parent for path in REFERENCE.glob("*/runs.jsonl"))


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.name for folder in FOLDERS])
def test_committed_records_give_the_committed_tables_and_report(folder, membench, tmp_path):
    packed = tmp_path / folder.name
    packed.mkdir()
    for name in ("runs.jsonl", "plan.json"):  # and no folder of single records, which is not committed
        (packed / name).write_bytes((folder / name).read_bytes())
    assert membench("report", packed)[0] == 0
    committed = {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
    assert {path.name: path.read_bytes() for path in (packed / "tables").iterdir()} == committed
    assert (packed / "report.md").read_bytes() == (folder / "report.md").read_bytes()
    for drawn in (packed / "plots").glob("*.svg"):  # another version draws the same data by other means
        committed_plot = (folder / "plots" / drawn.name).read_bytes()
        if f"Matplotlib v{matplotlib.__version__}".encode() in committed_plot:
            assert drawn.read_bytes() == committed_plot, drawn.name


@pytest.mark.parametrize(
    "pair", [("gru_pmm", "transformer"), ("gru", "lstm"), ("gru_pmm", "mamba")], ids="-".join
)
def test_the_committed_comparisons_are_what_records_and_measurements_say(
    pair, membench, tmp_path, monkeypatch
):
    monkeypatch.chdir(
        REFERENCE.parent.parent
    )  # the table names the files that it rests on as it was told them
    name = "_vs_".join(pair)
    results = REFERENCE.relative_to(Path.cwd())
    assert membench("compare", *pair, "--results", results, "--out", tmp_path)[0] == 0
    for kind in ("csv", "md", "tex"):
        file = f"{name}.{kind}"
        assert (tmp_path / file).read_bytes() == (REFERENCE / "compare" / file).read_bytes()


def test_the_committed_claims_are_what_the_committed_records_say(membench, tmp_path):
    assert FOLDERS
    for folder in FOLDERS:
        (tmp_path / folder.name).mkdir()
        for name in ("runs.jsonl", "plan.json"):
            (tmp_path / folder.name / name).write_bytes((folder / name).read_bytes())
    assert membench("claims", tmp_path)[0] == 0
    for name in ("claims.csv", "claims.md"):
        assert (tmp_path / name).read_bytes() == (REFERENCE / name).read_bytes()
