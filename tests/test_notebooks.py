"""The notebooks: each is small, was run from top to bottom, and the short ones run here."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def cells(name, kind="code"):
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_asks_a_question_is_small_and_was_run_without_an_error(name):
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 500_000
    assert "".join(cells(name, "markdown")[0]["source"]).split("\n")[0].endswith("?")
    assert [cell["execution_count"] for cell in cells(name)] == list(range(1, len(cells(name)) + 1))
    assert not any(output["output_type"] == "error" for cell in cells(name) for output in cell["outputs"])


@pytest.mark.parametrize("name", ["faces", "even", "compare", "tips"])
def test_a_short_notebook_runs_from_a_fresh_clone(name, tmp_path):
    for path in [*ROOT.glob("*.py"), ROOT / "models", ROOT / "notebooks"]:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    story = "\n".join("".join(cell["source"]) for cell in cells(name))
    done = subprocess.run([sys.executable, "-c", story], cwd=tmp_path / "notebooks", capture_output=True, text=True,
                          env=os.environ | {"MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    shown = [line for cell in cells(name) for output in cell["outputs"] if output["output_type"] == "stream"
             for line in "".join(output["text"]).splitlines() if line and "\r" not in line and "images" not in line]
    assert shown and shown[-1].split(":")[0] in done.stdout
