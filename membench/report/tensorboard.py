"""Learning curves as TensorBoard event files: the extra `tensorboard`."""

from pathlib import Path

from membench.errors import InputError
from membench.records import CurvePoint, RunRecord

FOLDER = "tensorboard"
"""Name of the folder, in a results folder, that `tensorboard --logdir` is told."""

SCALARS = [name for name in CurvePoint.__struct_fields__ if name not in ("steps", "seconds")]


def write_curves(results: Path, records: list[RunRecord]) -> Path:
    """Write the learning curve of every record, a folder per run; return the folder of them all.

    Every field of `CurvePoint` is a scalar against training steps; its wall time is seconds from the start of
    the run. What an earlier export wrote for a run is replaced.

    Raises:
        InputError: if the package tensorboard is not there, or a link is in the way.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            f"--tensorboard: needs the package tensorboard ({error}): pip install 'membench[tensorboard]'"
        ) from None
    for record in records:
        folder = results / FOLDER / record.run_id
        if folder.is_symlink():
            raise InputError(
                f"{folder}: a symbolic link, which could lead out of the results folder; remove it"
            )
        for earlier in folder.glob("events.out.tfevents.*"):
            earlier.unlink()
        with SummaryWriter(str(folder)) as writer:
            for point in record.curve:
                for name in SCALARS:
                    if isinstance(value := getattr(point, name), int | float):
                        writer.add_scalar(name, value, point.steps, walltime=point.seconds)
    return results / FOLDER
