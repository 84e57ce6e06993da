"""Follows README's recipe for whoever wants to add something, letter by letter, in a copy of the project."""
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import TINY, words

import args as constants

ROOT = pathlib.Path(constants.__file__).parent


def apply(recipe, project):
    """Writes what the recipe says where it says: its lines `# <file>, above|below <words>:` name the file, and the line
    in it that begins with these words; without them it is the end, or a new file.
    """
    for place, code in re.findall(r"^# (.+):\n((?:(?!# \S+\.\w+[,:]).*\n)+)", recipe, re.M):
        name, _, beside = place.partition(", ")
        path = project / name
        lines = path.read_text().splitlines(True) if path.exists() else []
        side, _, anchor = beside.partition(" ")
        found = [number for number, line in enumerate(lines) if anchor and line.strip().startswith(anchor)]
        assert not anchor or len(found) == 1, f"{name} has {len(found)} lines that begin with {anchor}"
        at = found[0] + (side == "below") if anchor else len(lines)
        path.write_text("".join([*lines[:at], code, *lines[at:]]))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project in which README's recipe was followed."""
    folder = tmp_path_factory.mktemp("contribution")
    for name in ("args.py", "data.py", "gan.py", "callbacks.py", "README.md", "setup.cfg", "models", "tests"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    section = (ROOT / "README.md").read_text().partition("\n## Add something\n")[2].partition("\n## ")[0]
    recipe, = re.findall(r"```python\n(.*?)```", section, re.S)
    apply(recipe, folder)
    return folder


def run(project, *command):
    result = subprocess.run([sys.executable, *command], cwd=project, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def test_a_tip_a_network_and_a_dataset_are_added_as_readme_says(project):
    assert "2 passed" in run(project, "-m", "pytest", "-q", "-k", "gradients_are_clipped or readme_s_tips",
                             "-p", "no:cacheprovider", "-n0")
    run(project, "-m", "flake8", "args.py", "data.py", "models", "tests")
    run(project, "gan.py", "Noise", "name=added", "network=linear", "clip_norm=1.0",
        *words(TINY | {"batches": 1}))
    assert (project / "runs/added/dump.png").exists()
