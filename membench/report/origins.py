"""Marks in tables whose runs were not all made by the same code, or on the same machine."""

import pandas as pd

from membench.records import MEASURED_ON_THE_MACHINE
from membench.report.tables import Table


def marked(table: Table, frame: pd.DataFrame) -> Table:
    """Return a table of a tidy frame with a column that says where the runs behind each row come from.

    `Code` wherever the frame mixes results of different code or libraries, `Machine` where the table holds
    timings and the frame mixes machines. The numbers are those of `membench.provenance.numbered`.
    """
    if "architecture" not in table.values:
        return table
    marks = {
        "code": True,
        "machine": any(name in column for column in table.values for name in MEASURED_ON_THE_MACHINE),
    }
    for origin, is_affected in marks.items():
        if is_affected and len(set(frame[origin])) > 1:
            numbers = [_numbers(row, frame, origin) for row in table.values.to_dict("records")]
            table = Table(
                table.values.assign(**{origin: numbers}), table.shown.assign(**{origin.capitalize(): numbers})
            )
    return table


def _numbers(row: dict, frame: pd.DataFrame, origin: str) -> str:
    """Return the numbers of the origins of the runs that a row is about, as in "1, 2"."""
    runs = frame.loc[frame.architecture.isin([row["architecture"], row.get("other")])]
    for key in {"cell", "run_id"} & row.keys():
        runs = runs.loc[runs[key] == row[key]]
    return ", ".join(map(str, sorted(set(runs[origin]))))
