"""The command line without the plots of reports, which take longer than short runs."""

PROGRAM = """
import membench.report
from membench.cli import main
membench.report.figures_for = lambda frame: {}
main()
"""
"""What `python -c` runs in place of `python -m membench`."""
