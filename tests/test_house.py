"""Guards the house: which room imports which, what README promises, how long the story is."""
import ast
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

import args as constants

ROOT = pathlib.Path(constants.__file__).parent
README = (ROOT / "README.md").read_text()
ROOMS = {"args", "data", "callbacks", "gan", "models"}
ARROWS = {  # who may import whom; what a room imports only inside a function stands after it
    "args.py": set(),
    "data.py": {"args", "models.even", "models.toyfaces"},
    "callbacks.py": {"data", "models.adversarial", "models.devices", "models.losses", "models.metrics"},
    "gan.py": {"args", "callbacks", "data", "models", "models.adversarial", "models.devices", "models.metrics"},
    "models": {"models.adversarial", "models.augment", "models.autoencoder", "models.devices", "models.latent",
               "models.dcgan", "models.layers", "models.losses", "models.metrics"},
}


def imported(path, top_only=False):
    """Returns the names of the modules that a file imports; only those outside of functions where `top_only`."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" if node.module == "models" else node.module for alias in node.names}
    return names


def rooms(names):
    return {name for name in names if name.split(".")[0] in ROOMS}


@pytest.mark.parametrize("room", ARROWS)
def test_rooms_import_only_what_they_may(room):
    paths = sorted((ROOT / room).glob("*.py")) if room == "models" else [ROOT / room]
    for path in paths:
        assert rooms(imported(path)) <= ARROWS[room], path


def test_data_knows_args_only_in_its_main():
    assert "args" not in imported(ROOT / "data.py", top_only=True)


def test_what_decodes_images_starts_without_tensorflow():
    code = "import sys, data; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_top_level_is_the_one_that_was_agreed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    if not listed:
        pytest.skip("an unpacked archive has no list of the project's files: what else lies there is the user's own")
    assert {path.split("/")[0] for path in listed} <= {
        "README.md", "setup.cfg", "pyproject.toml", "LICENSE", ".gitignore", ".ci", ".github", "args.py", "data.py",
        "callbacks.py", "gan.py", "models", "tests", "notebooks"}
    assert not any(path.endswith((".h5", ".hdf5", ".jpg")) or "util" in path for path in listed)


def test_the_story_is_short():
    assert len((ROOT / "gan.py").read_text().splitlines()) < 300


def commands():
    """Yields the commands of README's shell blocks, one a line."""
    for block in re.findall(r"```sh\n(.*?)```", README, re.S):
        yield from (line.split(" # ")[0].strip() for line in block.splitlines() if line.strip())


def test_readme_shows_commands():
    assert len(list(commands())) >= 10


@pytest.mark.parametrize("command", [line for line in commands() if re.search(r"\b(gan|data)\.py", line)])
def test_readme_s_runs_name_presets_and_constants_that_exist(command):
    words = shlex.split(command)
    script = next(index for index, word in enumerate(words) if word.endswith((".py")))
    constants.parse(words[script + 1:])


def test_readme_s_files_exist():
    for name in re.findall(r"\]\((?!http|#)([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"tests/bench_\w+\.py", README):
        assert (ROOT / name).exists(), name


def test_readme_s_tree_names_every_module():
    tree = re.search(r"```\nargs\.py.*?```", README, re.S).group(0)
    present = {path.name for folder in (ROOT, ROOT / "models") for path in folder.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\w+\.py", tree)) - {"__init__.py"} == present


def test_readme_translates_constants_that_exist():
    table = README[README.index("| original | here |"):].split("\n\n")[0]
    cells = [cell.strip() for row in table.splitlines()[2:] for cell in row.strip("|").split("|")]
    ours = [name for cell in cells[1::5] + cells[4::5] for name in re.findall(r"`(\w+)`", cell)]
    assert len(ours) > 6 and all(hasattr(constants.Args, name) for name in ours if name != "weights")


def test_readme_s_tips_are_constants_and_none_is_missing():
    table = README[README.index("| constant | what it does | from |"):].split("\n\n")[0]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert all(hasattr(constants.Args, name) for name in named)
    source = (ROOT / "args.py").read_text()
    game = source[source.index("# ---- the game"):source.index("# ---- optimizers")]
    assert set(re.findall(r"^    (\w+) = ", game, re.M)) <= named and len(named) > 30
