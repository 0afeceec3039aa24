import logging

import numpy as np
import pytest

from cactus_tf import datasets, plugins
from cactus_tf.contracts import DataContext
from cactus_tf.datasets import digits


def test_a_data_set_is_found_by_its_name():
    np.testing.assert_array_equal(datasets.load("digits").val.images, digits.load().val.images)


def test_an_unknown_data_set_is_answered_with_those_there_are(complains):
    with complains("'cifar'", "digits", "mnist", "omniglot"):
        datasets.load("cifar")


@pytest.mark.parametrize("name", ["celeba", "imagenet", "miniimagenet", "mnist", "omniglot"])
def test_a_folder_is_named_in_one_line_whatever_characters_it_has(name, tmp_path, complains):
    folder = tmp_path / "a\nb\x1b\udcff"
    with complains(r"a\nb\x1b\udcff is not a folder"):
        datasets.load(name, folder)
    folder.mkdir()
    with complains(r"a\nb\x1b\udcff"):
        datasets.load(name, folder)


@pytest.mark.parametrize("name", ["omniglot", "mnist"])
def test_a_failed_download_names_the_remedy_in_one_line(name, monkeypatch, complains):
    import tensorflow_datasets as tfds

    def no_network(name):
        raise ConnectionError("name resolution\nfailed " + "x" * 1000)

    monkeypatch.setattr(tfds, "builder", no_network)
    with complains(name, "name resolution failed", "data_dir", "https://"):
        datasets.load(name)


@pytest.mark.parametrize("name", ["omniglot", "mnist"])
def test_damage_to_downloaded_files_names_their_folder(name, complains):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def damaged(builder, split, **unused):
        return tf.data.TFRecordDataset(__file__)

    with tfds.testing.mock_data(as_dataset_fn=damaged), complains(name, "damaged", "delete"):
        plugins.load("datasets", name).locate(None)()


def test_the_download_library_is_left_as_it_was(monkeypatch):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    from cactus_tf.datasets import mnist

    usual = downloader.MAX_RETRIES
    with tfds.testing.mock_data(num_examples=2):
        mnist.locate(None)()
    assert usual == downloader.MAX_RETRIES


@pytest.mark.parametrize("setting", ["image_size", "eval_dir"])
def test_a_setting_that_a_data_set_does_not_take_is_refused(complains, setting):
    with complains(setting, 32, "digits does not take it", "leave"):
        datasets.load("digits", context=DataContext(**{setting: 32}))


def test_retries_of_a_download_do_not_warn_and_other_requests_still_do(monkeypatch, complains):
    import tensorflow_datasets as tfds

    requests, levels = logging.getLogger("urllib3"), []

    def no_network(name):
        levels.append(requests.level)
        raise OSError("no network")

    monkeypatch.setattr(tfds, "builder", no_network)
    before = requests.level
    with complains("could not be downloaded"):
        datasets.load("mnist")
    assert levels == [logging.ERROR] and requests.level == before != logging.ERROR
