import dataclasses

import pytest

from cactus_tf.config import build_plan, flags
from cactus_tf.config.presets import PRESETS
from cactus_tf.errors import InputError


def parse(*argv):
    return flags.parse(argv)


def complete(settings, images, classes):
    return build_plan.complete(build_plan.make(settings), images, classes)


def test_a_given_value_wins_over_the_data_set_and_the_data_set_over_the_learner():
    training = parse("--dataset=omniglot", "--query=7").learners["protonets"]
    assert (training.query, training.way, training.filters) == (7, 20, 64)


def test_omniglot_has_the_settings_of_the_paper():
    settings = parse("--dataset=omniglot")
    training, part, evaluation = settings.learners["protonets"], settings.partition, settings.evaluation
    assert (part.partitioner, part.clusters, part.partitions) == ("kmeans", 500, 100)
    assert (training.way, training.shot, training.query, training.steps) == (20, 1, 15, 30_000)
    assert (training.filters, training.outer_lr) == (64, 1e-3)
    assert (evaluation.eval_ways, evaluation.eval_shots) == ((5, 20), (1, 5))
    assert (evaluation.eval_query, evaluation.eval_episodes) == (5, 1000)


def test_settings_of_an_embedder_are_shown_only_if_it_is_used():
    shown = build_plan.make(parse("--dataset=omniglot", "--partitioner=labels", "--algo=protonets")).sections
    assert not {"embedding", "acai settings"} & set(shown)
    assert {"embedding", "acai settings"} < set(build_plan.make(parse("--dataset=omniglot")).sections)


OF_ROUNDS = {"first_partitioner", "round_clusters", "round_steps"}  # not given: as in the other rounds


@pytest.mark.parametrize("dataset", PRESETS)
def test_every_data_set_resolves_without_further_flags(dataset):
    settings = parse(f"--dataset={dataset}")
    for part in (settings.partition, settings.evaluation, settings.learners["protonets"]):
        missing = {name for name, value in dataclasses.asdict(part).items() if value is None} - OF_ROUNDS
        assert missing <= ({"clusters", "eval_ways"} if dataset == "folder" else set())


@pytest.mark.parametrize(
    ("images", "classes", "clusters", "ways"), [(900, 3, 22, (3,)), (60, 0, 5, (2,)), (10**6, 40, 500, (5,))]
)
def test_a_folder_gets_clusters_and_ways_that_fit_its_images(images, classes, clusters, ways, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    plan = complete(parse("--dataset=folder", f"--data_dir={tmp_path}"), images, classes)
    assert (plan.partition.clusters, plan.evaluation.ways) == (clusters, ways)
    assert all(learner.tasks for learner in plan.learners)


def test_given_or_published_numbers_do_not_depend_on_the_size_of_the_data():
    for argv in (["--dataset=omniglot"], ["--clusters=30"]):
        plan = build_plan.make(parse(*argv))
        assert build_plan.complete(plan, 100, 2) == plan


def test_more_way_than_clusters_is_refused():
    with pytest.raises(InputError, match="--way=12 is more than --clusters=10"):
        parse("--way=12", "--clusters=10")


def test_a_network_that_is_not_trained_takes_only_the_flags_of_networks():
    network = parse("--algo=scratch", "--filters=7", "--norm=layer", "--way=9", "--steps=3").networks["scratch"]
    assert (network.backbone, network.filters, network.norm, network.on_embeddings) == ("conv4", 7, "layer", False)
    assert (network.way, network.steps) == (None, None)
    with pytest.raises(InputError, match="--on_embeddings: conv4 takes images"):
        parse("--algo=scratch", "--backbone=conv4", "--on_embeddings")


def test_each_stage_gets_its_part_of_the_plan():
    plan = build_plan.make(parse("--algo=protonets,nearest_neighbours", "--seed=3"))
    assert plan.data.dataset == "digits"
    assert (plan.embedding.embedder, plan.embedding.splits) == ("pixels", ("train", "test"))
    assert (plan.partition.partitioner, plan.partition.clusters, plan.partition.way) == ("kmeans", 25, 20)
    protonets, neighbors = plan.learners
    assert (protonets.training.way, neighbors.training) == (20, None)
    assert (protonets.embeddings, neighbors.embeddings) == (False, True)
    assert protonets.tasks == neighbors.tasks == ((10, 1), (10, 5))


def test_a_stage_that_no_learner_needs_is_not_planned():
    assert build_plan.make(parse("--algo=nearest_neighbours")).partition is None
    assert build_plan.make(parse("--algo=protonets", "--partitioner=labels")).embedding is None


def test_embeddings_are_used_as_they_are_unless_a_norm_is_given():
    for argv in ([], ["--embedding_norm=none"]):
        embedding = parse("--dataset=omniglot", *argv).embedding
        assert (embedding.embedding_norm, embedding.embedding_center) == (None, None)
    assert parse("--embedding_norm=centered").embedding.embedding_center == 1


def test_a_norm_changes_the_partitions_and_neither_the_embedder_nor_its_embeddings():
    none, unit = (build_plan.make(parse(f"--embedding_norm={norm}")) for norm in ("none", "unit"))
    assert none.embedding.key == unit.embedding.key
    assert none.embedding.embeddings_key == unit.embedding.embeddings_key == none.embedding.used_key
    assert none.embedding.used_key != unit.embedding.used_key
    assert none.partition.key != unit.partition.key
    assert none.name != unit.name


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--embedding_center=0.5"], "needs --embedding_norm=centered, and it is none"),
        (["--embedding_norm=unit", "--embedding_center=0.5"], "and it is unit"),
        (["--embedding_norm=centered", "--embedding_center=2"], "at most 1"),
        (["--embedding_norm=length"], "choose from none, unit, centered"),
        (
            ["--dataset=imagenet", "--imagenet_input=features", "--embedding_norm=unit", "--on_embeddings"],
            "rows of this data set are features",
        ),
    ],
)
def test_a_norm_that_cannot_be_used_is_refused(argv, words):
    with pytest.raises(InputError, match=words):
        parse(*argv)


def test_the_linear_backbone_is_as_wide_as_its_input_unless_told_otherwise():
    argv = ["--on_embeddings", "--backbone=linear", "--algo=protonets,maml"]
    assert [training.filters for training in parse(*argv).learners.values()] == [None, None]
    assert parse(*argv, "--filters=20").learners["protonets"].filters == 20
