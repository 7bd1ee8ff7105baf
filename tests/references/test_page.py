"""docs/architectures.md names what the memories are compared with."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_names_every_reference_with_the_version_that_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "architectures.md").read_text()
    for pin in project["optional-dependencies"]["references"]:
        assert pin.replace("==", " ") in page
