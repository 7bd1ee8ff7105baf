import pytest
import torch
from agreement import LARGEST


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter):
    """Print the largest differences with `-rP`."""
    if not terminalreporter.hasopt("P"):
        return
    write = terminalreporter.write_line
    write("| architecture | compared with | type | outputs | gradients |\n| --- | --- | --- | --- | --- |")
    for (architecture, reference, dtype), (outputs, gradients) in sorted(LARGEST.items()):
        write(f"| `{architecture}` | {reference} | {dtype} | {outputs:.1e} | {gradients:.1e} |")
