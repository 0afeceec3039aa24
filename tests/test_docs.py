"""The examples in the documentation run, and the files, functions and flags that it names exist."""

import contextlib
import dataclasses
import doctest
import importlib
import inspect
import json
import pydoc
import re
from pathlib import Path

import numpy as np
import pytest
from benchmark_scripts import script

import cactus_tf
from cactus_tf import contracts, embedders, plugins
from cactus_tf.utils import sealed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
INFOS = ["DatasetInfo", "EmbedderInfo", "PartitionerInfo", "BackboneInfo", "LearnerInfo"]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def test_the_example_embedder_embeds():
    names = {"__name__": "patches"}
    exec(blocks("extending.md")[0], names)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    embeddings = names["build"]().fit(images).transform(images)
    assert embeddings.shape == (3, 49)
    np.testing.assert_allclose(embeddings[0, 0], images[0, :4, :4].mean() / 255, rtol=1e-6)


@pytest.fixture
def patches(plugin_folder):
    """The module of the example embedder, in a plug-in folder."""
    (plugin_folder / "embedders").mkdir()
    (plugin_folder / "embedders" / "patches.py").write_text(blocks("extending.md")[0])
    plugins.add(plugin_folder)
    return plugins.load("embedders", "patches")


def test_the_example_embedder_declares_its_info(patches):
    assert isinstance(patches.INFO, contracts.EmbedderInfo)


def test_the_example_embedder_and_its_setting_are_found_by_the_file_name(patches):
    from cactus_tf.config.flags import parse
    from cactus_tf.config.help import help_text

    words = " ".join(help_text("patches").split())
    assert "--patches_size side of a patch (pixels; at least 1) default: 4" in words
    assert parse(["--embedder=patches", "--patches_size=7"]).options["patches"] == patches.Options(size=7)


def test_the_example_embedder_passes_the_battery_of_embedders(patches, tmp_path):
    import test_contracts as battery

    images = np.random.default_rng(0).integers(0, 256, (80, 28, 28, 1), np.uint8)
    given = {"fitted": ("patches", patches.build().fit(images), patches.build), "pictures": images}
    tests = [f for f in vars(battery).values() if inspect.isfunction(f) and f.__name__.startswith("test_")]
    wanted = [(test, inspect.signature(test).parameters) for test in tests]
    checks = [(test, names) for test, names in wanted if "fitted" in names]
    assert len(checks) >= 5
    for test, names in checks:
        with contextlib.suppress(pytest.skip.Exception):
            test(**{name: value for name, value in {**given, "tmp_path": tmp_path}.items() if name in names})


def test_a_saved_classifier_preserves_the_setting_of_the_example_embedder(patches, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), np.uint8)
    learner, embedder = cactus_tf.learners.build("nearest_neighbours"), embedders.build("patches", size=14)
    cactus_tf.FewShotClassifier(learner, embedder).fit(images, [0, 0, 1, 1]).save(tmp_path / "saved")
    loaded = cactus_tf.FewShotClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.embedder.transform(images), embedder.transform(images))


def test_the_example_that_replaces_stages_by_a_few_lines_runs(capsys):
    exec(blocks("extending.md")[1], {})
    assert 0.5 < float(capsys.readouterr().out) <= 1  # chance is 0.1


@pytest.mark.parametrize("info", INFOS)
def test_the_page_on_extending_lists_exactly_the_fields_of_each_info(info):
    page = (ROOT / "docs" / "extending.md").read_text()
    table = page.partition(f"| `{info}` | meaning |\n")[2].partition("\n\n")[0]
    fields = [field.name for field in dataclasses.fields(getattr(contracts, info))]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == fields


def test_the_page_on_extending_lists_protocols_and_members_that_exist():
    page = (ROOT / "docs" / "extending.md").read_text()
    rows = re.findall(
        r"^\| `([A-Z]\w+)`(?: \(embedder\))? \| ([^|]*) \|", page.partition("## Protocols")[2], re.MULTILINE
    )
    assert len(rows) >= 10
    for protocol, names in rows:
        kind = getattr(contracts, protocol)
        for name in re.findall(r"`(\w+)`", names):
            assert any(name in vars(base) or name in vars(base).get("__annotations__", {}) for base in kind.__mro__), (
                f"{protocol}.{name}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_to_files_of_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_everything_that_the_algorithm_page_names_exists():
    names = re.findall(r"`(cactus_tf\.[\w.]+)`", (ROOT / "docs" / "algorithm.md").read_text())
    assert len(names) > 20
    for name in names:
        assert pydoc.locate(name), name


def test_every_flag_that_the_readme_names_exists():
    from cactus_tf import export, predict
    from cactus_tf.config.help import help_text

    help_page = "\n".join([help_text("full"), predict.HELP, export.HELP])
    others = {"help", "helpfull", "flagfile", "logdir", "short"}  # of absl, TensorBoard and the scripts
    for flag in set(re.findall(r"--([a-z_]+)", (ROOT / "README.md").read_text())) - others:
        assert re.search(rf"^  --{flag}\b", help_page, re.MULTILINE), flag


@pytest.mark.parametrize(
    "module",
    ["datasets", "embedders", "partitioners", "fewshot.episodes", "fewshot.evaluation", "fewshot.training"],
    ids=str,
)
def test_the_example_of_a_public_function_gives_the_result_it_shows(module):
    failed, tried = doctest.testmod(importlib.import_module(f"cactus_tf.{module}"))
    assert tried and not failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tables_of_stored_results_are_those_of_the_files(page):
    """If not: python benchmarks/stored_results.py tables"""
    text = page.read_text()
    assert script("stored_results").with_tables(text) == text


def test_every_stored_result_is_shown_on_a_page():
    shown = {name for page in PAGES for names in re.findall("<!-- results: (.*) -->", page.read_text())
             for name in names.split()}  # fmt: skip
    assert {path.stem for path in (ROOT / "docs" / "results").glob("*.json")} == shown


def texts(value):
    """Every text in nested values."""
    if isinstance(value, dict | list):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in texts(one)]
    return [value] if isinstance(value, str) else []


def test_a_stored_result_names_no_folder_of_a_machine(tmp_path, monkeypatch):
    place = str(tmp_path / "somewhere")
    settings = {"run": {"seed": 1, "workdir": place}, "options": {"precomputed": {"dir": place, "k": 3}}}
    rows = [{"options": {"precomputed_file": place, "learner_run": place, "steps": 2}}]
    sealed.write(tmp_path / "results.json", {"config": settings, "rows": rows})
    stored_results = script("stored_results")
    monkeypatch.setattr(stored_results, "RESULTS", tmp_path)
    stored_results.store(tmp_path, "stored")
    content = sealed.read(tmp_path / "stored.json", "")
    kept = {"run": {"seed": 1}, "options": {"precomputed": {"k": 3}}}
    assert content == {"config": kept, "rows": [{"options": {"steps": 2}}]}
    for path in (ROOT / "docs" / "results").glob("*.json"):
        assert not [text for text in texts(json.loads(path.read_text())) if Path(text).is_absolute()], path
