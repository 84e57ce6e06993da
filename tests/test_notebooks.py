"""The notebooks: small, executed without errors, and in step with the code."""
import ast
import importlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
# The scripts and packages that a notebook needs.
PROJECT = ("args.py", "data.py", "gan.py", "models", "training", "notebooks")


def cells(name, kind="code"):
    """Returns the cells of one kind of a notebook."""
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def code_of(name):
    """Returns the code of a notebook as one script."""
    return "\n".join("".join(cell["source"]) for cell in cells(name))


def recorded_lines(name):
    """Returns the lines that the code of a notebook printed when it was executed."""
    lines = []
    for cell in cells(name):
        for output in cell["outputs"]:
            if output["output_type"] == "stream":
                lines += "".join(output["text"]).splitlines()
    return lines


def execute(name, folder):
    """Executes the code of a notebook in a copy of the project. Returns what it prints."""
    for part in PROJECT:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part)
        else:
            shutil.copy(ROOT / part, folder / part)
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
    code_cells = cells(name)
    counts = [cell["execution_count"] for cell in code_cells]
    assert counts == list(range(1, len(code_cells) + 1))
    for cell in code_cells:
        assert all(output["output_type"] != "error" for output in cell["outputs"])


def imported(tree):
    """Returns {local name: object} of what a script imports from this project."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in ("args", "data", "gan", "models"):
                    found[alias.asname or alias.name] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            package = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(package, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
                found[alias.asname or alias.name] = getattr(package, alias.name)
    return found


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_uses_names_that_exist(name):
    tree = ast.parse(code_of(name))
    objects = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in objects:
                assert hasattr(objects[node.value.id], node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faces", "compare", "tips"])
def test_short_notebook_prints_what_is_recorded_in_it(name, tmp_path):
    recorded = [line for line in recorded_lines(name) if " a second" not in line]  # no speeds
    assert recorded
    assert set(recorded) <= set(execute(name, tmp_path).splitlines())


@pytest.mark.slow
def test_even_notebook_learns_even_numbers(tmp_path):
    printed = execute("even", tmp_path)
    assert re.search(r"cosine between them: -(1\.00|0\.99)", printed)
    distinct = re.findall(r"after: 100.0% even, (\d+) of the 64 even numbers appear", printed)
    assert int(distinct[0]) >= 50
