"""Which module imports which, and that documented commands are valid."""
import ast
import json
import re
import shlex
import subprocess
import sys

import pytest

import args as constants
from conftest import ROOT

# {part: what of this project its modules may import}. Deeper parts come first.
MAY_IMPORT = {
    "models/toys": ("models.toys",),
    "models": ("args", "models"),
    "training": ("args", "data", "models", "training"),
    "args.py": (),
    "data.py": ("args", "models.toys", "models.import_keras"),
    "gan.py": ("args", "data", "models", "training"),
}


def files_of(part):
    """Returns the Python files of a script or a package."""
    return sorted((ROOT / part).rglob("*.py")) or [ROOT / part]


def imports(path):
    """Returns the full names of all that a file imports, such as models.toys.faces."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_point_one_way(part):
    for path in files_of(part):
        if part == "models" and "toys" in path.parts:
            continue
        for name in imports(path):
            if name.split(".")[0] in ("args", "data", "gan", "models", "training"):
                assert name.startswith(MAY_IMPORT[part]), f"{path.name} imports {name}"


def test_core_does_not_know_of_cartoons():
    for path in files_of("models"):
        if path.parent.name != "cartoon" and path != ROOT / "models/__init__.py":
            assert "cartoon" not in " ".join(imports(path)), path.name


def test_models_open_no_file_print_nothing_and_know_no_clock():
    for path in files_of("models"):
        if path.name in ("features.py", "feature_maps.py"):  # load pretrained networks
            continue
        called = {node.func.id for node in ast.walk(ast.parse(path.read_text()))
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert not called & {"open", "print"}, path.name
        assert not imports(path) & {"datetime", "h5py", "io", "pathlib", "time"}, path.name


def test_data_is_made_without_tensorflow(tmp_path):
    code = (f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
            "sys.modules['tensorflow'] = sys.modules['keras'] = None; "
            "import args, data; data.make(args.override(args.ToyFaces, dataset_size=8))")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


# ---- README and notebooks


def documents():
    """Returns {name: text} of README and of the notebooks' Markdown."""
    texts = {"README": (ROOT / "README.md").read_text()}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        markdown = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        texts[path.stem] = "\n\n".join(markdown)
    return texts


@pytest.mark.parametrize("name", documents())
def test_documented_commands_are_valid(name):
    for command in re.findall(r"python (gan\.py|data\.py)([^\n`&]*)", documents()[name]):
        script, text = command
        arguments = shlex.split(text, comments=True)
        if arguments == ["--help"]:
            continue
        verbs = constants.VERBS if script == "gan.py" else ()
        args, _ = constants.parse(arguments, verbs)
        constants.check(args)


@pytest.mark.parametrize("name", documents())
def test_documented_files_exist(name):
    folder = ROOT if name == "README" else ROOT / "notebooks"
    for target in re.findall(r"\]\((?!http|#)([^)\s#]+)", documents()[name]):
        assert (folder / target).exists(), target
    in_project = r"(?:tests|models|training|notebooks)/[\w/]+(?:\.\w+)+"
    for path in re.findall(in_project, documents()[name]):
        assert (ROOT / path).exists(), path
