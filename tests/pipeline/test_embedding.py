import contextlib

import numpy as np
import pytest

from cactus_tf import embedders, plugins
from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.config.plan import EmbeddingPlan
from cactus_tf.contracts import EmbedderContext, EmbedderInfo
from cactus_tf.pipeline import embedding
from cactus_tf.pipeline.embedding import fit_or_load
from cactus_tf.pipeline.preparation import prepare
from cactus_tf.runs.artifacts import Artifact
from cactus_tf.types import ImageSet


def test_checkpoints_that_a_killed_process_did_not_remove_go_when_the_embedder_is_used(tmp_path):
    plan = build_plan.make(cli.parse(["--embedder=pixels", "--pixels_dims=3"]))
    train = prepare(plan.data, tmp_path / "artifacts").train
    artifact = Artifact(tmp_path / "artifacts", "embedder", plan.embedding.key)
    fit_or_load(plan.embedding, train, artifact, tmp_path)
    (artifact.folder / "partial").mkdir()
    (artifact.folder / "partial" / "step-2.index").touch()
    fit_or_load(plan.embedding, train, artifact, tmp_path)
    assert not (artifact.folder / "partial").exists()


class Two:
    """Stands for a strategy of two devices."""

    num_replicas_in_sync = 2

    def __init__(self):
        self.entered = 0

    @contextlib.contextmanager
    def scope(self):
        self.entered += 1
        yield


class Stub:
    """Stands for an embedder."""

    def fit(self, images, **settings):
        return self

    def save(self, folder):
        pass


@pytest.mark.parametrize("embedder, divided", [("acai", True), ("deepcluster", True), ("own", False), ("pixels", None)])
def test_embedders_that_can_be_divided_are_built_for_all_devices(embedder, divided, monkeypatch, tmp_path, caplog):
    declared = EmbedderInfo(trained=True) if embedder == "own" else plugins.info("embedders", embedder)
    monkeypatch.setattr(plugins, "info", lambda family, name: declared)
    monkeypatch.setattr(embedders, "plain", lambda *arguments: Stub())
    plan = EmbeddingPlan(embedder, None, EmbedderContext(), 0, ("train",), {}, {}, {})
    artifact, devices = Artifact(tmp_path / "artifacts", "embedder", {}), Two()
    images = np.zeros((20, 8, 8, 1), np.uint8)
    with caplog.at_level("INFO"):
        fit_or_load(plan, ImageSet(images), artifact, tmp_path, devices)
    assert devices.entered == bool(divided)
    assert ("own is fitted on one device" in caplog.text) == (divided is False)


def embeddings_in(place, monkeypatch, rows, *flags):
    """The embeddings by split, made in shards of this many images."""
    monkeypatch.setattr(embedding, "ROWS", rows)
    plan = build_plan.make(cli.parse([*flags, "--algo=nearest_neighbours"]))
    data = prepare(plan.data, place / "artifacts")
    return embedding.embed(plan.embedding, data, place / "artifacts", place)[1]


@pytest.mark.parametrize("flags", [["--embedder=pixels", "--pixels_dims=3"], ["--embedder=acai", "--embedder_steps=1"]])
def test_shards_give_the_array_of_one_piece(flags, tmp_path, monkeypatch):
    whole = embeddings_in(tmp_path / "whole", monkeypatch, 1 << 16, *flags)
    parts = embeddings_in(tmp_path / "parts", monkeypatch, 256, *flags)
    assert len(whole["train"]) == 1000
    for split, array in whole.items():
        np.testing.assert_allclose(parts[split], array, rtol=1e-5, atol=1e-6, err_msg=split)
    assert not list((tmp_path / "parts").rglob("shards"))


def test_a_stopped_embedding_goes_on_from_its_shards(tmp_path, monkeypatch):
    flags = ["--embedder=pixels", "--pixels_dims=3"]
    expected = embeddings_in(tmp_path / "whole", monkeypatch, 256, *flags)
    made, transform = [], embedding._Transform.__call__

    def stopping(self, shard):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(shard)
        return transform(self, shard)

    monkeypatch.setattr(embedding._Transform, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        embeddings_in(tmp_path / "stopped", monkeypatch, 256, *flags)
    assert len(list((tmp_path / "stopped").rglob("shards/*.npy"))) == 2
    again = []
    monkeypatch.setattr(
        embedding._Transform, "__call__", lambda self, shard: again.append(shard) or transform(self, shard)
    )
    resumed = embeddings_in(tmp_path / "stopped", monkeypatch, 256, *flags)
    assert not set(again) & set(made)
    np.testing.assert_array_equal(resumed["train"], expected["train"])
