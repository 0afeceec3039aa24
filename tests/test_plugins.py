import pytest

from cactus_tf import plugins
from cactus_tf.errors import InputError


def test_members_are_the_modules_without_underscore():
    assert {"digits", "mnist", "omniglot"} <= set(plugins.names("datasets"))
    assert not [name for family in plugins.FAMILIES for name in plugins.names(family) if name.startswith("_")]


def test_the_error_about_an_unknown_member_lists_the_family():
    with pytest.raises(InputError, match="unknown member 'umap' of embedders; choose from acai, "):
        plugins.load("embedders", "umap")


def test_the_error_about_an_unknown_setting_lists_the_settings():
    with pytest.raises(InputError, match="nearest_neighbours has no setting n; it has k"):
        plugins.options("learners", "nearest_neighbours", n=3)
