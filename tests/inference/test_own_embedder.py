"""Classifiers with an embedder of the user's own: saved by its own methods, or refused with what to add."""

import json

import numpy as np
import pytest
from conftest import forget_plugins
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from cactus_tf import FewShotClassifier, embedders, export, learners, plugins
from cactus_tf.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), np.uint8)
LABELS = np.arange(12) % 3


class Columns:
    """Means of the columns, minus those of the images that it was fitted on."""

    def fit(self, images, y=None, **_):
        self.mean = images.mean(axis=(0, 1, 3))
        return self

    def transform(self, images):
        return (images.mean(axis=(1, 3)) - self.mean).astype(np.float32)

    def save(self, folder):
        (folder / "parts").mkdir(exist_ok=True)
        (folder / "parts" / "mean.json").write_text(json.dumps(self.mean.tolist()))

    def load(self, folder):
        self.mean = np.array(json.loads((folder / "parts" / "mean.json").read_text()))
        return self


def fitted(embedder):
    learner = learners.build("nearest_neighbours", k=3)
    return FewShotClassifier(learner, embedder.fit(IMAGES)).fit(IMAGES[:9], LABELS[:9])


@pytest.mark.parametrize("given", [Columns, Columns()])
def test_an_embedder_with_save_and_load_is_saved_with_its_classifier(tmp_path, given):
    classifier = fitted(Columns())
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved", embedder=given)
    np.testing.assert_array_equal(loaded.predict_proba(IMAGES), classifier.predict_proba(IMAGES))


def test_an_embedder_whose_load_returns_nothing_is_used(tmp_path):
    class Silent(Columns):
        def load(self, folder):
            super().load(folder)

    classifier = fitted(Silent())
    classifier.save(tmp_path / "saved")
    loaded = FewShotClassifier.load(tmp_path / "saved", embedder=Silent)
    np.testing.assert_array_equal(loaded.predict_proba(IMAGES), classifier.predict_proba(IMAGES))


def test_loading_asks_for_the_class_and_refuses_another(tmp_path):
    fitted(Columns()).save(tmp_path / "saved")
    with pytest.raises(InputError, match="an embedder of your own, Columns: give an unfitted one, load"):
        FewShotClassifier.load(tmp_path / "saved")
    with pytest.raises(InputError, match="was saved with the embedder Columns, not Untrained: give a Columns"):
        FewShotClassifier.load(tmp_path / "saved", embedder=embedders.Untrained(np.mean))


def test_an_embedder_that_load_builds_itself_must_not_be_given(tmp_path):
    fitted(embedders.build("pixels")).save(tmp_path / "saved")
    with pytest.raises(InputError, match="was saved with the embedder pixels, not Columns: leave embedder out"):
        FewShotClassifier.load(tmp_path / "saved", embedder=Columns)


def test_files_of_an_own_embedder_in_subfolders_are_checked(tmp_path):
    fitted(Columns()).save(tmp_path / "saved")
    (tmp_path / "saved" / "embedder" / "parts" / "mean.json").write_text("[0]")
    with pytest.raises(InputError, match=r"embedder/parts/mean\.json is missing, or differs from what was saved"):
        FewShotClassifier.load(tmp_path / "saved", embedder=Columns)


def test_a_saved_classifier_in_the_place_of_a_run_is_named(tmp_path, capsys):
    FewShotClassifier(head="logistic").save(tmp_path / "saved")
    assert export.main([f"--run={tmp_path / 'saved'}", f"--out={tmp_path / 'out'}"]) == 2
    assert "saved is a saved classifier, not a run; name the folder" in capsys.readouterr().err


def test_a_transformer_of_scikit_learn_is_refused_with_what_to_add(tmp_path):
    pipeline = make_pipeline(FunctionTransformer(lambda images: images.reshape(len(images), -1) / 255), PCA(3))
    classifier = fitted(pipeline)
    with pytest.raises(InputError, match="the embedder Pipeline cannot be saved: add methods save") as error:
        classifier.save(tmp_path / "saved")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "saved").exists()


def test_a_classifier_with_a_plugin_asks_for_it_and_finds_it(plugin_folder, tmp_path):
    (plugin_folder / "embedders").mkdir()
    source = (
        "from cactus_tf.contracts import EmbedderInfo\nfrom cactus_tf.embedders import Untrained\n"
        "INFO = EmbedderInfo()\ndef build(context=None, options=None):\n"
        "    return Untrained(lambda x: x[:, 3, :, 0] / 255)\n"
    )
    (plugin_folder / "embedders" / "mine.py").write_text(source)
    plugins.add(plugin_folder)
    classifier = fitted(embedders.build("mine"))
    classifier.save(tmp_path / "saved")
    forget_plugins(plugin_folder)
    with pytest.raises(InputError, match=r"was made with the plug-in embedders/mine: add .*cactus_tf\.plugins\.add"):
        FewShotClassifier.load(tmp_path / "saved")
    plugins.add(plugin_folder)
    loaded = FewShotClassifier.load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict_proba(IMAGES), classifier.predict_proba(IMAGES))
