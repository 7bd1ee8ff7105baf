"""Suites and presets as data: `NAME.toml` is a suite, `presets/NAME.toml` a preset; see `membench.suite`."""
