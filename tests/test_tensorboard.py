"""Learning curves for TensorBoard: what the event files hold is what the records do."""

import importlib.util
import sys

import pytest
from test_report import make_record

from membench.errors import InputError
from membench.folders import make_results_folder
from membench.records import write_record
from membench.report.tensorboard import SCALARS, write_curves

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_point_of_every_curve_is_in_its_run_s_file_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records = [make_record(), make_record("lstm", seed=1, steps=6_000), make_record("a:B", status="failed")]
    for _ in range(2):  # a second export replaces the first
        folder = write_curves(tmp_path, records)
    assert sorted(path.name for path in folder.iterdir()) == sorted(record.run_id for record in records)
    for record in records:
        found = EventAccumulator(str(folder / record.run_id)).Reload()
        assert set(found.Tags()["scalars"]) == (set(SCALARS) if record.curve else set())
        for name in SCALARS if record.curve else []:
            written = [(event.step, event.value, event.wall_time) for event in found.Scalars(name)]
            held = [(point.steps, getattr(point, name), point.seconds) for point in record.curve]
            assert written == [pytest.approx(point) for point in held], name


@needs_tensorboard
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_link_in_the_place_of_a_run_is_not_followed(tmp_path):
    record = make_record()
    (tmp_path / "outside").mkdir()
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / record.run_id).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="a symbolic link"):
        write_curves(tmp_path, [record])
    assert not list((tmp_path / "outside").iterdir())


def test_without_the_package_the_extra_is_named(tmp_path, membench, monkeypatch):
    monkeypatch.setattr("membench.report.figures_for", lambda frame: {})  # they take long
    for name in ("tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    make_results_folder(tmp_path)
    write_record(tmp_path, make_record())
    code, _, err = membench("report", tmp_path, "--tensorboard")
    assert code == 2 and "pip install 'membench[tensorboard]'" in err and err.count("\n") == 1
