from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.pipeline.embedding import fit_or_load
from cactus_tf.pipeline.preparation import prepare
from cactus_tf.runs.artifacts import Artifact


def test_checkpoints_that_a_killed_process_did_not_remove_go_when_the_embedder_is_used(tmp_path):
    plan = build_plan.make(cli.parse(["--embedder=pixels", "--pixels_dims=3"]))
    train = prepare(plan.data, tmp_path / "artifacts").train
    artifact = Artifact(tmp_path / "artifacts", "embedder", plan.embedding.key)
    fit_or_load(plan.embedding, train, artifact, tmp_path)
    (artifact.folder / "partial").mkdir()
    (artifact.folder / "partial" / "step-2.index").touch()
    fit_or_load(plan.embedding, train, artifact, tmp_path)
    assert not (artifact.folder / "partial").exists()
