import dataclasses
from pathlib import Path

import pytest

from cactus_tf import plugins
from cactus_tf.config.settings_page import settings_page

MEMBERS = [
    (family, name)
    for family in ("embedders", "partitioners", "learners")
    for name in plugins.names(family)
    if plugins.options_type(family, name)
]


def fields(family, name):
    return dataclasses.fields(plugins.options_type(family, name))


def test_the_page_of_settings_is_what_the_code_declares():
    """If not: python -m cactus_tf.config.settings_page > docs/settings.md"""
    assert (Path(__file__).parents[2] / "docs" / "settings.md").read_text() == settings_page()


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_every_default_of_a_member_has_a_source(family, name):
    defaults = [f for f in fields(family, name) if f.default is not None or "default: " in f.metadata["meaning"]]
    assert [f.name for f in defaults if not f.metadata["source"]] == []


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_no_two_settings_of_a_member_share_a_symbol(family, name):
    symbols = [f.metadata["symbol"] for f in fields(family, name) if f.metadata["symbol"]]
    assert len(set(symbols)) == len(symbols)


@pytest.mark.parametrize("name", plugins.names("learners"))
def test_every_learner_with_a_network_names_the_source_of_its_defaults(name):
    info = plugins.info("learners", name)
    assert bool(info.source) == bool(info.training or info.network)
