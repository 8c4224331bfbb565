"""The hooks before a commit."""

import re

import yaml

from tests.deploy.compose import ROOT


def test_hooks_are_the_steps_of_make_check() -> None:
    """The hooks run what `make check` runs, in its order, on everything, and come from nowhere else."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    hooks = repository["hooks"]
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    steps = recipe[1].replace("$(BIN)", ".venv/bin").replace("\t", "").splitlines()
    assert [hook["entry"] for hook in hooks] == steps
