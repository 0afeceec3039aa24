"""Members in a folder of one's own: what is found there, what is refused, and what an edit changes."""

import shutil

import pytest
from conftest import forget_plugins

from cactus_tf import embedders, export, main, plugins, predict, suggest
from cactus_tf.config import build_plan, keys
from cactus_tf.config.flags import parse
from cactus_tf.errors import InputError

EMBEDDER = '''"""The middle pixel."""

import dataclasses

from cactus_tf.config import option
from cactus_tf.contracts import EmbedderInfo
from cactus_tf.embedders import Untrained

INFO = EmbedderInfo()


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings."""

    scale: float = option(1.0, "factor", source="ours", low=0)


def build(context=None, options=None):
    return Untrained(lambda images: (options or Options()).scale * images[:, 14, :, 0])
'''
WHOLE = {"embedders/mine.py": EMBEDDER}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def key(folder, *flags):
    """The key of the embedder `mine` in a new process."""
    forget_plugins(folder)
    settings = parse([f"--plugins={folder}", "--embedder=mine", *flags])
    return keys.digest(build_plan.make(settings).embedding.key)


def test_a_plugin_is_a_member_of_its_family_with_flags_of_its_own(plugin_folder):
    write(plugin_folder, WHOLE)
    settings = parse([f"--plugins={plugin_folder}", "--embedder=mine", "--mine_scale=2"])
    assert settings.options["mine"].scale == 2
    assert settings.run.plugins == str(plugin_folder.resolve())
    assert "mine" in plugins.names("embedders")
    assert embedders.build("mine", scale=3.0).get_params()["scale"] == 3


def test_the_folder_may_stand_in_a_flagfile_and_be_relative(plugin_folder, monkeypatch):
    write(plugin_folder, WHOLE)
    (plugin_folder.parent / "flags.txt").write_text("--plugins=plugins\n--embedder=mine\n")
    monkeypatch.chdir(plugin_folder.parent)
    assert parse(["--flagfile=flags.txt"]).run.plugins == str(plugin_folder.resolve())


def test_the_help_of_a_plugin_lists_its_settings(plugin_folder, capsys):
    write(plugin_folder, WHOLE)
    assert main.main(["--help=mine", f"--plugins={plugin_folder}"]) == 0
    printed = capsys.readouterr().out
    assert "mine (embedders): The middle pixel." in printed
    assert "--mine_scale" in printed


def test_a_package_with_helpers_is_a_member(plugin_folder):
    init = EMBEDDER.replace(
        "import dataclasses\n", "import dataclasses\n\nfrom cactus_tf.embedders.mine import sizes\n"
    )
    write(plugin_folder, {"embedders/mine/__init__.py": init, "embedders/mine/sizes.py": "SIDE = 3\n"})
    plugins.add(plugin_folder)
    assert plugins.load("embedders", "mine").sizes.SIDE == 3


LEARNER = "from cactus_tf.contracts import LearnerInfo\nINFO = LearnerInfo('Mine')\ndef build(c, o): ...\n"
REFUSED = [
    ({}, "has no members in subfolders: put each file into datasets/, embedders/, "),
    ({"embedder/mine.py": EMBEDDER}, "embedder is not the folder of a family: rename it to embedders"),
    ({"mine.py": EMBEDDER}, "mine.py declares INFO outside a family's folder: move it into datasets/, "),
    ({"embedders/mine/build.py": "", **WHOLE}, "mine has no __init__.py: add one"),
    ({"embedders/pixels.py": EMBEDDER}, "pixels.py has the name of a built-in module: rename it"),
    ({"learners/pixels.py": LEARNER}, "pixels.py has the name of a built-in module: rename it"),
    ({"embedders/_base.py": "", **WHOLE}, "_base.py has the name of a built-in module: rename it"),
    ({"embedders/none.py": EMBEDDER}, "none.py has a reserved name (data, "),
    ({"embedders/my-own.py": EMBEDDER}, "my-own.py cannot be imported: name .py files with letters, digits and"),
    ({"learners/mine.py": LEARNER, **WHOLE}, "mine.py have the same name: rename one"),
    ({"embedders/mine.py": "import nowhere_at_all\n"}, "line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ({"embedders/mine.py": "x = 1\ny = (\n"}, "cannot be imported (line 2: '(' was never closed): correct it"),
    ({"embedders/mine.py": "import sys\nsys.exit('no')\n"}, "cannot be imported (line 2: SystemExit: no)"),
    ({"embedders/mine.py": ""}, "has no INFO: add INFO = EmbedderInfo(...), of cactus_tf.contracts"),
    ({"embedders/mine.py": LEARNER}, "has no INFO: add INFO = EmbedderInfo(...), of cactus_tf.contracts"),
    ({"embedders/mine.py": EMBEDDER.replace("def build", "def make")}, "mine.py has no function build: add it"),
    ({"embedders/mine.py": EMBEDDER.replace("@dataclasses.dataclass(frozen=True)", "")}, "not a dataclass: decorate"),
    ({"embedders/mine.py": EMBEDDER.replace('option(1.0, "factor", source="ours", low=0)', "1.0")},
     'has Options whose scale is not an option: write option(DEFAULT, "meaning")'),
    ({"embedders/mine.py": EMBEDDER.replace("scale: float", "scale: dict")}, "scale cannot be a flag: annotate it"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "line"), REFUSED, ids=[line[:40] for _, line in REFUSED])
def test_what_cannot_be_a_member_is_refused_in_one_line(plugin_folder, capsys, files, line):
    write(plugin_folder, files)
    assert main.main([f"--plugins={plugin_folder}", "--embedder=mine"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert line in printed


@pytest.mark.parametrize(
    ("place", "line"),
    [("nowhere", "does not exist: name a folder"), ("plugins/embedders/mine.py", "is a file: name a folder"),
     ("plugins/embedders", "name the folder above it")],
)  # fmt: skip
def test_a_wrong_folder_is_refused_in_one_line(plugin_folder, place, line):
    write(plugin_folder, {"embedders/mine.py": "x = 1"})
    with pytest.raises(InputError, match=line):
        parse([f"--plugins={plugin_folder.parent / place}"])


def test_a_setting_with_the_flag_of_another_is_refused(plugin_folder):
    write(plugin_folder, {"embedders/embedder.py": EMBEDDER.replace("scale", "steps")})
    with pytest.raises(InputError, match="--embedder_steps is the flag of two settings: rename that of the plug-in"):
        parse([f"--plugins={plugin_folder}"])


def test_an_edit_of_the_source_or_of_a_file_that_it_names_changes_the_key(plugin_folder):
    helped = EMBEDDER.replace("import dataclasses", "import dataclasses\n\nfrom cactus_tf.embedders import _sizes")
    write(plugin_folder, {"embedders/mine.py": helped, "embedders/_sizes.py": "A = 1", "embedders/other.py": EMBEDDER})
    first = key(plugin_folder)
    assert key(plugin_folder) == first
    write(plugin_folder, {"embedders/other.py": EMBEDDER + "\n"})
    assert key(plugin_folder) == first
    write(plugin_folder, {"embedders/_sizes.py": "A = 2"})
    second = key(plugin_folder)
    write(plugin_folder, {"embedders/mine.py": helped + "\n"})
    assert len({first, second, key(plugin_folder)}) == 3


def test_a_file_that_changed_after_it_was_imported_is_refused(plugin_folder):
    write(plugin_folder, WHOLE)
    plugins.add(plugin_folder)
    plugins.add(plugin_folder)
    write(plugin_folder, {"embedders/mine.py": EMBEDDER + "\n"})
    with pytest.raises(InputError, match=r"mine\.py changed after it was imported: start a new Python process"):
        plugins.add(plugin_folder)


def test_plugins_change_no_key_of_built_in_members(plugin_folder):
    before = build_plan.make(parse(["--embedder=pixels"]))
    write(plugin_folder, WHOLE)
    after = build_plan.make(parse([f"--plugins={plugin_folder}", "--embedder=pixels"]))
    assert (after.name, after.embedding.key, after.identity) == (before.name, before.embedding.key, before.identity)


@pytest.fixture
def run(plugin_folder, tmp_path):
    """A run with a plug-in as its embedder, stopped before evaluation."""
    write(plugin_folder, WHOLE)
    flags = [
        "--embedder=mine",
        "--algo=nearest_neighbours",
        "--stage=train",
        "--quiet",
        f"--workdir={tmp_path / 'run'}",
    ]
    assert main.main([f"--plugins={plugin_folder}", f"--artifacts_dir={tmp_path / 'artifacts'}", *flags]) == 0
    return tmp_path / "run"


COMMANDS = [
    (predict.main, "--support={0} --query={0}"),
    (suggest.main, "--data_dir={0}/plugins"), (export.main, "--out={0}/out"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "flags"), COMMANDS, ids=["predict", "suggest", "export"])
def test_other_commands_ask_for_the_plugins_of_a_run(run, plugin_folder, capsys, command, flags):
    forget_plugins(plugin_folder)
    words = [f"--run={run}", *flags.format(run.parent).split()]
    assert command(words) == 2
    asked = capsys.readouterr().err
    assert f"was made with the plug-in embedders/mine: add --plugins={plugin_folder.resolve()} (it runs" in asked
    assert "mine" not in plugins.names("embedders")
    assert command([*words, f"--plugins={plugin_folder}"]) == 2
    assert "plug-in" not in capsys.readouterr().err  # it goes on: here, to what is wrong with the pictures


def test_a_run_refuses_plugins_that_were_edited_after_it(run, plugin_folder, capsys):
    forget_plugins(plugin_folder)
    write(plugin_folder, {"embedders/mine.py": EMBEDDER + "\n"})
    words = [f"--run={run}", f"--out={run.parent / 'out'}", f"--plugins={plugin_folder}"]
    assert export.main(words) == 2
    assert "was made with another" in capsys.readouterr().err


def test_a_plugin_folder_may_move(run, plugin_folder, capsys):
    forget_plugins(plugin_folder)
    moved = shutil.copytree(plugin_folder, run.parent / "moved")
    shutil.rmtree(plugin_folder)
    code = export.main([f"--run={run}", f"--out={run.parent / 'out'}", f"--plugins={moved}"])
    forget_plugins(moved)
    asked = capsys.readouterr().err
    assert (code, "plug-in" in asked) == (2, False)
    assert "those of mine are not made by a method encode" in asked  # the embedder was restored


def test_no_value_for_the_folder_is_an_error_in_words():
    from cactus_tf.config.flags import use_plugins

    with pytest.raises(InputError, match="plugins"):
        use_plugins(["--plugins"])


def test_helpers_that_another_folder_would_hide_are_refused(plugin_folder, tmp_path):
    write(plugin_folder, {**WHOLE, "embedders/_sizes.py": "SIDE = 3\n"})
    plugins.add(plugin_folder)
    second = tmp_path / "second"
    write(second, {"embedders/other.py": EMBEDDER, "embedders/_sizes.py": "SIDE = 4\n"})
    with pytest.raises(InputError, match=r"both have _sizes\.py: rename one"):
        plugins.add(second)


def test_a_corrected_plugin_is_read_again(plugin_folder):
    write(plugin_folder, {"embedders/mine.py": EMBEDDER.replace("INFO = ", "INFOS = ")})
    with pytest.raises(InputError, match="has no INFO"):
        plugins.add(plugin_folder)
    write(plugin_folder, WHOLE)
    plugins.add(plugin_folder)
    assert embedders.build("mine", scale=2.0).get_params()["scale"] == 2


def test_a_file_in_a_folder_of_its_own_that_a_plugin_names_changes_its_key(plugin_folder):
    named = EMBEDDER.replace("import dataclasses\n", 'import dataclasses\n\nWEIGHTS = "assets/weights.txt"\n', 1)
    write(plugin_folder, {"embedders/mine.py": named, "assets/weights.txt": "1"})
    before = key(plugin_folder)
    write(plugin_folder, {"assets/weights.txt": "2"})
    assert key(plugin_folder) != before
