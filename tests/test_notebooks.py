"""Tests of the notebooks: they use what exists, and the short ones run."""
import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import types

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def cells_of(name):
    """Returns the code cells of a notebook."""
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_of(name):
    """Returns the code of a notebook as one script."""
    return "\n".join("".join(cell["source"]) for cell in cells_of(name))


def recorded_lines(name):
    """Returns the lines that the code of a notebook printed when it was executed."""
    lines = []
    for cell in cells_of(name):
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                lines += "".join(output["text"]).splitlines()
    return lines


def execute(name, folder):
    """Executes the code of a notebook in a copy of the project. Returns what it prints."""
    shutil.copytree(ROOT, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
        ".*", "runs", "tests", "shared", "*.hdf5"))
    done = subprocess.run(
        [sys.executable, "-c", code_of(name)], cwd=folder / "notebooks", capture_output=True,
        text=True, env=os.environ | {"MPLBACKEND": "agg"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_small(name):
    assert (ROOT / "notebooks" / f"{name}.ipynb").stat().st_size < 500_000


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_was_executed_in_order_without_errors(name):
    counts = [cell["execution_count"] for cell in cells_of(name)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in cells_of(name):
        assert all(output["output_type"] != "error" for output in cell["outputs"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_uses_modules_and_functions_that_exist(name):
    tree = ast.parse(code_of(name))
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            exec(ast.unparse(node), imported)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = imported.get(node.value.id)
            if isinstance(module, types.ModuleType):
                assert hasattr(module, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faces", "pretrained", "compare", "tips"])
def test_short_notebook_prints_what_is_recorded_in_it(name, tmp_path):
    recorded = recorded_lines(name)
    assert recorded
    assert set(recorded) <= set(execute(name, tmp_path).splitlines())


@pytest.mark.slow
def test_even_notebook_learns_even_numbers(tmp_path):
    printed = execute("even", tmp_path)
    assert re.search(r"cosine between them: -(1\.00|0\.99)", printed)
    distinct = re.findall(r"after: 100.0% even, (\d+) of the 64 even numbers appear", printed)
    assert int(distinct[0]) >= 50
