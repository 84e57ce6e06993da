"""Tests of the layout: which module imports which, and that documented names exist."""
import ast
import json
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

import args as constants

ROOT = pathlib.Path(constants.__file__).resolve().parent
README = (ROOT / "README.md").read_text()
PROJECT = {"args", "data", "gan", "models", "training"}
# {script or package: prefixes of the modules of this project that it may import}
ALLOWED_IMPORTS = {
    "args.py": (),
    "models": ("models",),
    "data.py": ("args", "models.bits", "models.toyfaces", "models.toyscenes"),
    "training": ("data", "models", "training"),
    "gan.py": ("args", "data", "models", "training"),
}
TOP_LEVEL = {
    "args.py", "data.py", "gan.py", "models", "training", "tests", "notebooks",
    "README.md", "LICENSE", "setup.cfg", "pyproject.toml", ".gitignore", ".ci", ".github",
}


# ---- imports


def files_of(part):
    """Returns the Python files of a script or a package."""
    path = ROOT / part
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def project_imports(nodes):
    """Returns the names of the modules of this project that the statements `nodes` import."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.module in ("models", "training"):  # packages: what is imported is a module
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                names.add(node.module)
    return {name for name in names if name.split(".")[0] in PROJECT}


def is_main_block(node):
    """Returns whether a statement is `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


@pytest.mark.parametrize("part", ALLOWED_IMPORTS)
def test_imports_point_one_way(part):
    allowed = ALLOWED_IMPORTS[part]
    for path in files_of(part):
        for name in project_imports(ast.walk(ast.parse(path.read_text()))):
            is_allowed = any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)
            assert is_allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_data_imports_args_only_as_a_script():
    tree = ast.parse((ROOT / "data.py").read_text())
    main_blocks = [node for node in tree.body if is_main_block(node)]
    others = [node for node in tree.body if not is_main_block(node)]
    nodes_outside = [node for statement in others for node in ast.walk(statement)]
    nodes_inside = [node for statement in main_blocks for node in ast.walk(statement)]
    assert "args" not in project_imports(nodes_outside)
    assert "args" in project_imports(nodes_inside)


@pytest.mark.parametrize("code", [
    "import models, models.validation",
    "import data",
    "import args, data; data.make(args.override(args.ToyFaces, dataset_size=40))",
    "import args, data; data.make(args.override(args.Even, dataset_size=600))",
    "import args, data; data.make(args.override(args.Cartoon64, images='toyscenes', "
    "photos='toyscenes', dataset_size=20))",
], ids=["models", "data", "toyfaces", "even", "toyscenes"])
def test_starts_without_tensorflow_and_keras(code, tmp_path):
    check = "import sys; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    script = "\n".join([path, code, check])
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path).returncode == 0


# ---- files


def project_files():
    """Returns the paths of the files in the repository, or that would be added to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not listed:
        # Only git knows which files belong to the project, and which the user has added.
        pytest.skip("not a git repository, so the project's own files are not known")
    return [path for path in listed if (ROOT / path).exists()]


def test_top_level_has_only_the_agreed_entries():
    assert {path.split("/")[0] for path in project_files()} <= TOP_LEVEL


def test_repository_has_no_data_and_no_utils():
    for path in project_files():
        assert not path.endswith((".h5", ".hdf5", ".keras", ".jpg")), path
        assert "util" not in pathlib.Path(path).stem, path


# ---- README and notebooks


def notebook_markdown(path):
    """Returns the text of a notebook."""
    notebook = json.loads(path.read_text())
    texts = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            texts.append("".join(cell["source"]))
    return "\n\n".join(texts)


NOTEBOOKS = {path.name: notebook_markdown(path)
             for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def documented_lines():
    """Returns the lines of README's shell blocks and of the notebooks' indented blocks."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", README, re.S):
        lines += block.splitlines()
    for text in NOTEBOOKS.values():
        lines += re.findall(r"^    (python .+)$", text, re.M)
    return lines


def script_commands():
    """Returns the documented commands of gan.py and data.py, from the script's name on."""
    commands = []
    for line in documented_lines():
        for command in line.split("&&"):
            parts = shlex.split(command, comments=True)
            for position, part in enumerate(parts):
                if part in ("gan.py", "data.py"):
                    commands.append(parts[position:])
    return commands


def test_readme_shows_commands():
    readme_lines = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S)
                    for line in block.splitlines()]
    assert sum("gan.py" in line for line in readme_lines) >= 3


@pytest.mark.parametrize("command", script_commands(), ids=" ".join)
def test_documented_commands_are_valid(command):
    script, *arguments = command
    verbs = constants.VERBS if script == "gan.py" else ()
    constants.parse(arguments, verbs)


def test_documented_constants_exist():
    for name, text in {"README.md": README, **NOTEBOOKS}.items():
        without_blocks = re.sub(r"```.*?```", "", text, flags=re.S)
        for code in re.findall(r"`([^`\n]+)`", without_blocks):
            if "tests/" in code:  # the options of a bench are no constants
                continue
            for constant in re.findall(r"(?:^| )([a-z]\w*)=", code):
                assert hasattr(constants.Args, constant), f"{name}: {code}"


def test_readme_links_exist():
    for target in re.findall(r"\]\((?!http|#)([^)\s#]+)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_links_exist(name):
    for target in re.findall(r"\]\((?!http|#)([^)\s#]+)", NOTEBOOKS[name]):
        assert (ROOT / "notebooks" / target).exists(), target


def test_documented_scripts_exist():
    for text in (README, *NOTEBOOKS.values()):
        for path in re.findall(r"(?:tests|models|training|notebooks)/\w+\.\w+", text):
            assert (ROOT / path).exists(), path


def test_tips_table_names_constants_that_exist():
    table = NOTEBOOKS["tips.ipynb"].partition("| constant |")[2].partition("\n\n")[0]
    names = []
    for row in table.splitlines()[2:]:
        first_cell = row.split("|")[1]
        names += re.findall(r"`(\w+)`", first_cell)
    assert len(names) > 30
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(constants.Args, name), name
