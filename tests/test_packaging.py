"""What setup.py states agrees with the package and with the versions that .ci/lowest tries."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pins(file):
    """Name -> version of a file of `name==version` lines."""
    return dict(line.split("==") for line in (ROOT / file).read_text().split())


def bounds():
    """Name -> lowest version of every requirement in setup.py outside the extras for tools and formats."""
    text = re.sub(r'"(docs|fuzz|hub|onnx|tflite)": \[.*?\]', "", (ROOT / "setup.py").read_text())
    return dict(re.findall(r'"([\w-]+)>=([\d.]+)"', text))


def test_the_lowest_versions_allowed_are_the_lowest_versions_tried():
    tried = pins(".ci/lowest.txt")
    assert {name: tried[name].startswith(f"{low}.") or tried[name] == low for name, low in bounds().items()} == (
        dict.fromkeys(tried, True)
    )


def test_no_requirement_has_an_upper_bound():
    assert not re.search(r'"[\w\[\]-]+[^"]*[<~!]=?\d', (ROOT / "setup.py").read_text())


def test_every_command_of_the_package_is_a_script():
    scripts = re.findall(r"cactus_tf\.(\w+):command", (ROOT / "setup.py").read_text())
    commands = [path.stem for path in (ROOT / "cactus_tf").glob("*.py") if '__name__ == "__main__"' in path.read_text()]
    assert sorted(scripts) == sorted(commands)


def test_pre_commit_and_ci_lint_with_the_same_version():
    assert f"rev: v{pins('.ci/tools.txt')['ruff']} " in (ROOT / ".pre-commit-config.yaml").read_text()
