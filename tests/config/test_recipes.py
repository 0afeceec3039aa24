import dataclasses
from pathlib import Path

import pytest

from cactus_tf.config import by_content
from cactus_tf.config import flags as cli
from cactus_tf.config.presets import PRESETS, RECIPES
from cactus_tf.errors import InputError

FLAGFILES = Path(__file__).parents[2] / "flags"


def unnamed(settings):
    """The settings without the name of their recipe."""
    return dataclasses.replace(settings, run=dataclasses.replace(settings.run, recipe="paper"))


@pytest.mark.parametrize("dataset", PRESETS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_a_run_on_every_data_set(recipe, dataset):
    settings = cli.parse([f"--dataset={dataset}", f"--recipe={recipe}"])
    assert (settings.partition.rounds > 1) == (recipe == "rounds")


@pytest.mark.parametrize("dataset", ["omniglot", "digits"])
def test_the_recipe_and_the_flagfile_of_rounds_are_the_same(dataset):
    from_file = cli.parse([f"--flagfile={FLAGFILES / f'{dataset}_rounds.txt'}"])
    assert unnamed(cli.parse([f"--dataset={dataset}", "--recipe=rounds"])) == from_file


def test_flags_that_are_given_win_wherever_they_stand():
    settings = cli.parse(["--way=7", "--dataset=omniglot", "--rounds=2", "--recipe=rounds", "--norotate_classes"])
    training = settings.learners["protonets"]
    assert (training.way, settings.partition.rounds, training.rotate_classes) == (7, 2, False)
    assert training.augmentation == "affine"


def test_the_default_recipe_is_what_runs_have_always_been():
    assert cli.parse(["--recipe=paper"]) == cli.parse([])


def test_an_unknown_recipe_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="--recipe=round: unknown recipe; did you mean rounds"):
        cli.parse(["--recipe=round"])


def test_a_recipe_decides_for_a_folder_of_photographs_too(tmp_path):
    argv = ["--dataset=folder", f"--data_dir={tmp_path}", "--recipe=rounds"]
    assert by_content.completed(argv) == (argv, "")
