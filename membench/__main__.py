"""`python -m membench` is `membench`."""

from membench.cli import main

main()
