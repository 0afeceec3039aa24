"""What is read from a member's file is what the member declares."""

import dataclasses
import inspect
import subprocess
import sys

import pytest

from cactus_tf import backbones, export, plugins, table
from cactus_tf.config import schema
from cactus_tf.config.declared import DECLARED, IMPORTED, docstring
from cactus_tf.inference import formats
from cactus_tf.report import comparison

MEMBERS = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]


def plain(value):
    """A declared value; of a function only that there is one."""
    return "a function" if callable(value) else value


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_reading_a_member_gives_what_importing_it_gives(family, name):
    read, imported = DECLARED.info(family, name), IMPORTED.info(family, name)
    fields = [field.name for field in dataclasses.fields(imported)]
    assert {f: plain(getattr(read, f)) for f in fields} == {f: plain(getattr(imported, f)) for f in fields}
    assert docstring(family, name) == inspect.getdoc(plugins.load(family, name))


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_reading_a_members_options_gives_the_same_flags(family, name):
    read, imported = DECLARED.options_type(family, name), IMPORTED.options_type(family, name)
    assert (read is None) == (imported is None)
    if imported is not None:
        assert dataclasses.asdict(read()) == dataclasses.asdict(imported())
        assert [f.metadata for f in dataclasses.fields(read)] == [f.metadata for f in dataclasses.fields(imported)]


def test_names_that_are_listed_again_agree():
    assert list(schema.NORMS) == list(backbones.NORMS)
    assert list(export.FORMATS) == list(formats.FORMATS)
    assert list(table.STYLES) == list(comparison.STYLES)


@pytest.mark.parametrize(
    "command",
    [
        "main --dataset=omniglott", "main --maml_inner_stpes=3", "main --way=20 --clusters=10", "main --help",
        "main --algo=maml --eval_ways=50", "main --flagfile=nowhere", "export --run=. --out=x --format=pdf",
        "table x --format=pdf", "predict --run=nowhere --support=. --query=.",
    ],
)  # fmt: skip
def test_a_wrong_flag_is_told_before_tensorflow_loads(command):
    module, *flags = command.split()
    code = f"from cactus_tf.{module} import main; import sys; main({flags}); sys.exit('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == ("--help" not in flags)
