"""Look inside a trained agent: what is remembered, where, and when it is lost.

`membench inspect RUN` writes a page per run (`membench.inspect.page`). Nothing here trains, and nothing that
it measures changes an agent. This module imports nothing, for training measures utilisation too.
"""
