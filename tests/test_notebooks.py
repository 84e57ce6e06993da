"""The notebooks: each is small, was run from top to bottom, and the short ones run here."""
import json
import os
import pathlib
import re
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


def run(name, tmp_path):
    """Runs the code of a notebook in a copy of the project; returns what it prints."""
    for path in [*ROOT.glob("*.py"), ROOT / "models", ROOT / "notebooks"]:
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    story = "\n".join("".join(cell["source"]) for cell in cells(name))
    done = subprocess.run([sys.executable, "-c", story], cwd=tmp_path / "notebooks", capture_output=True, text=True,
                          env=os.environ | {"MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["faces", "compare", "tips"])
def test_a_short_notebook_prints_in_a_fresh_clone_what_stands_in_it(name, tmp_path):
    printed = run(name, tmp_path).splitlines()
    shown = [line for cell in cells(name) for output in cell["outputs"] if output["output_type"] == "stream"
             for line in "".join(output["text"]).splitlines() if " a second" not in line]
    assert len(shown) > 0 and set(shown) <= set(printed)


def test_even_numbers_are_learned_in_seconds(tmp_path):
    printed = run("even", tmp_path)
    assert "after: 100.0% even, 100.0% at most 100" in printed and "cosine between them: -1.000" in printed
    appeared = int(re.findall(r"(\d+) of the 51 even numbers appear", printed)[-1])
    assert appeared >= 17  # a third
