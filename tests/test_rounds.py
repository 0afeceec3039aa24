"""Several rounds of embedding, partitioning and training, on the bundled digits at a short length."""

import csv
import dataclasses
import json
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from cactus_tf import FewShotClassifier, datasets, embedders, learners, pipeline
from cactus_tf.config import build_plan, rounds
from cactus_tf.config import flags as cli
from cactus_tf.contracts import Recipe
from cactus_tf.errors import InputError
from cactus_tf.main import main
from cactus_tf.pipeline.embedding import _warn_of_unfinished
from cactus_tf.pipeline.meta_training import first_tasks
from cactus_tf.pipeline.rounds import Clusters, agreement, described, purity
from cactus_tf.runs import restoring
from cactus_tf.runs.inputs import Inputs
from cactus_tf.types import AssignedPartitions, ImageSet, InstancePartition

BASE = ["--algo=protonets,nearest_neighbours", "--filters=4", "--way=5", "--query=2", "--partitions=2"]
BASE += ["--eval_ways=5", "--eval_shots=1", "--eval_episodes=10", "--augmentation=affine", "--novalidation", "--quiet"]
ROUNDS = ["--rounds=3", "--first_partitioner=instances", "--round_clusters=30,20", "--round_steps=4,5", "--steps=6"]
TWO = ["--rounds=2", "--round_clusters=30", "--round_steps=4"]


NUMBERS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)


class Named:
    """Stands for an embedder that looks embeddings up by the names of files."""

    recipe = Recipe("precomputed", None, None)

    def transform(self, images, names):
        return NUMBERS[[int(name) for name in names]]


def run(place, *flags):
    folder = place / "run"
    assert main([*BASE, f"--workdir={folder}", f"--artifacts_dir={place / 'artifacts'}", *ROUNDS, *flags]) == 0
    return folder


def rows(folder):
    return [
        {name: value for name, value in row.items() if "seconds" not in name}
        for row in json.loads((folder / "results.json").read_text())["rows"]
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("rounds"))


def test_each_round_has_its_own_clusters_and_steps(finished):
    first, second = (restoring.restore(rounds.folder_of(finished, i)) for i in (1, 2))
    assert (first.step, second.step, restoring.restore(finished, "protonets").step) == (4, 5, 6)
    with open(finished / "rounds.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["round"], line["clusters"]) for line in lines] == [("1", "1000"), ("2", "30"), ("3", "20")]
    assert [line["agreement"] != "" for line in lines] == [False, False, True]
    assert all(0 < float(line["purity"]) <= 1 for line in lines)


def test_the_clusters_of_a_round_are_described_before_it_trains(tmp_path, monkeypatch):
    train, lines = pipeline.train, []

    def trained(plan, *others):
        with open(tmp_path / "run" / "rounds.csv", newline="") as file:
            lines.append([line["round"] for line in csv.DictReader(file)])
        return train(plan, *others)

    monkeypatch.setattr(pipeline, "train", trained)
    run(tmp_path, "--stage=train", *TWO)
    assert lines == [["1"], ["1", "2"]]
    lines.clear()
    run(tmp_path, "--stage=train", *TWO)
    assert lines == [["1", "2"], ["1", "2"]]


def test_a_damaged_list_of_clusters_is_written_again(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("cactus_tf"), "propagate", True)
    train, partitions = ImageSet(np.zeros((6, 8, 8, 1), np.uint8)), AssignedPartitions([np.arange(6) % 2])
    path = tmp_path / "rounds.csv"
    Clusters(train, tmp_path).add(partitions)
    expected = path.read_bytes()
    path.write_bytes(b"round\n\xff\xfe")
    Clusters(train, tmp_path).add(partitions)
    assert path.read_bytes() == expected
    assert "rounds.csv is damaged; writing it again" in caplog.text
    path.unlink()
    (path / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"rounds\.csv is a folder, and a file of that name belongs there"):
        Clusters(train, tmp_path)


def test_training_tasks_are_drawn_as_the_training_sees_them():
    plan = build_plan.make(cli.parse(["--augmentation=affine", "--partitioner=instances"]))
    data = datasets.load("digits")
    tasks = first_tasks(plan.meta_learners, data, [InstancePartition(len(data.train))])
    query = tasks[0].query
    assert query.dtype == np.float32
    assert not np.array_equal(query[0, 0], query[0, 1])


def test_a_round_embeds_by_the_features_of_the_one_before(finished):
    embedder = restoring.restore_embedder(finished)
    learner = restoring.restore(rounds.folder_of(finished, 2)).learner
    images = datasets.load("digits").test.images[:20]
    np.testing.assert_allclose(embedder.transform(images), learner.features(images), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kept", ["data", "embedder"])
def test_what_is_left_of_moved_artifacts_is_found_from_every_round(tmp_path, kept):
    names = {"data": "data-1", "embedder": "embedder-1", "artifacts_dir": str(tmp_path / "gone")}
    inputs = Inputs(**{**dict.fromkeys(field.name for field in dataclasses.fields(Inputs)), **names})
    folder = tmp_path / "runs" / "run" / "rounds" / "1"
    (tmp_path / "artifacts" / f"{kept}-1").mkdir(parents=True)
    assert restoring.artifacts_folder(folder, cli.parse([]), inputs) == tmp_path / "artifacts"


def test_results_say_where_the_tasks_came_from(finished):
    assert {(row["embedder"], row["partitioner"]) for row in rows(finished)} == {("learner", "kmeans")}
    options = rows(finished)[0]["options"]
    assert (options["rounds"], options["first_partitioner"], options["round_steps"]) == (3, "instances", [4, 5])
    assert "learner_run" not in options


def test_a_classifier_of_a_run_of_several_rounds_is_complete_once_saved(finished, tmp_path):
    data = datasets.load("digits").test
    chosen = [data.partitions[0].cluster(c)[:3] for c in range(3)]
    for algo in ("protonets", "nearest_neighbours"):
        classifier = FewShotClassifier.from_run(finished, algo).fit(
            data.images[np.concatenate(chosen)], np.repeat(["a", "b", "c"], 3)
        )
        classifier.save(tmp_path / algo)
        again = FewShotClassifier.load(tmp_path / algo)
        np.testing.assert_array_equal(again.predict(data.images[:40]), classifier.predict(data.images[:40]))


def test_a_run_stopped_in_its_second_round_ends_as_if_it_had_not_been(finished, tmp_path, monkeypatch):
    train, calls = pipeline.train, []

    def stopped(plan, *others):
        calls.append(plan)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(plan, *others)

    flags = [*BASE, *ROUNDS, f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path / 'artifacts'}"]
    monkeypatch.setattr(pipeline, "train", stopped)
    assert main(flags) == 130
    monkeypatch.setattr(pipeline, "train", train)
    assert rows(run(tmp_path)) == rows(finished)


def test_the_steps_of_earlier_rounds_may_not_change_within_a_run(finished, capsys):
    argv = [*BASE, f"--workdir={finished}", f"--artifacts_dir={finished.parent / 'artifacts'}", *ROUNDS]
    assert main([*argv, "--round_steps=4,7"]) == 2
    assert "round_steps" in capsys.readouterr().err


def test_learners_of_embeddings_learn_from_those_of_the_round_before(tmp_path):
    adapter = ["--on_embeddings", "--backbone=linear", "--augmentation=none", "--first_partitioner=kmeans"]
    folder = run(tmp_path, *adapter, "--embedder=pixels", "--pixels_dims=8", "--round_clusters=30")
    images = datasets.load("digits").test.images[:20]
    second, embedder = restoring.restore(rounds.folder_of(folder, 2)), restoring.restore_embedder(folder)
    expected = second.learner.features(second.embedder.transform(images))
    np.testing.assert_allclose(embedder.transform(images), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(embedder.encode(images), expected, rtol=1e-5, atol=1e-6)
    moved = tmp_path / "moved"
    embedder.save(moved)
    again = type(embedder)().load(moved)
    np.testing.assert_allclose(again.transform(images), expected, rtol=1e-5, atol=1e-6)


def test_files_are_looked_up_by_name_in_every_round():
    """Embeddings of files stay with their files where the images come in another order."""
    learner = learners.build("protonets", image_shape=(8, 8, 1), way=3, filters=4, backbone="linear",
                             on_embeddings=True, embedder=Named(), embeddings=NUMBERS)  # fmt: skip
    features = embedders.build("learner").use(learner)
    names = np.array([b"2", b"0", b"1"])
    images = np.zeros((3, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(features.transform(images, names=names), learner.features(NUMBERS[[2, 0, 1]]))


def test_a_last_round_of_unknown_clusters_does_not_go_on(tmp_path, capsys):
    folder = run(tmp_path, *TWO)
    (folder / "last_round.json").unlink()
    flags = [*BASE, f"--workdir={folder}", f"--artifacts_dir={tmp_path / 'artifacts'}", *ROUNDS, *TWO]
    assert main(flags) == 2
    assert "last_round.json is missing or damaged" in capsys.readouterr().err


def test_a_run_of_rounds_can_be_made_longer_once_its_earlier_steps_are_named(tmp_path):
    flags = ["--rounds=2", "--first_partitioner=instances", "--round_clusters=30", "--steps=4"]
    place = [f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path / 'artifacts'}"]
    assert main([*BASE, *place, *flags]) == 0
    assert main([*BASE, *place, *flags, "--steps=5"]) == 2
    assert main([*BASE, *place, *flags, "--steps=5", "--round_steps=4"]) == 0


def test_a_folder_with_the_first_of_several_rounds_is_not_taken_for_another_run(tmp_path, capsys):
    folder = run(tmp_path, "--stage=train", *TWO)
    shutil.rmtree(folder / "protonets")
    assert main([*BASE, f"--workdir={folder}", f"--artifacts_dir={tmp_path / 'artifacts'}", "--steps=6"]) == 2
    assert "belongs to another configuration" in capsys.readouterr().err


@pytest.mark.parametrize("first", ["random", "labels"])
def test_learners_of_embeddings_need_the_embedder_whatever_clusters_the_first_round(first):
    flags = ["--rounds=2", "--on_embeddings", "--backbone=linear", f"--first_partitioner={first}", "--embedder=pixels"]
    plan = build_plan.make(cli.parse(flags))
    assert plan.embedding is not None and plan.embedding.embedder == "pixels"
    assert plan.name.startswith("digits-pixels-")


def test_a_learner_that_is_not_finished_is_told(caplog, monkeypatch):
    training = SimpleNamespace(select="last", steps=6)
    restored = SimpleNamespace(plan=SimpleNamespace(training=training), step=4, name="protonets")
    monkeypatch.setattr(logging.getLogger("cactus_tf"), "propagate", True)
    _warn_of_unfinished(restored, "RUN")
    assert "--learner_run=RUN: protonets has 4 of its 6 steps; rerun its command" in caplog.text
    caplog.clear()
    _warn_of_unfinished(SimpleNamespace(**{**vars(restored), "step": 6}), "RUN")
    assert not caplog.text


def test_neighbors_report_no_k():
    reported = build_plan.make(cli.parse(["--partitioner=neighbors", "--partitions=2"])).learners[0].reported
    assert "clusters" not in reported
    assert reported["partitions"] == 2


def test_too_many_clusters_of_a_later_round_are_refused_before_the_first_one_trains(tmp_path, capsys):
    flags = [*BASE, *ROUNDS, "--round_clusters=2000", f"--workdir={tmp_path / 'run'}"]
    assert main([*flags, f"--artifacts_dir={tmp_path / 'artifacts'}"]) == 2
    assert "--round_clusters=2000 is more than the 1000 training images" in capsys.readouterr().err
    assert not (tmp_path / "run" / "rounds").exists()


def test_clusters_of_later_rounds_have_enough_images_by_default():
    plan = build_plan.make(cli.parse(["--rounds=2", "--way=20", "--shot=1", "--query=4"]))
    assert build_plan.complete(plan, 300, 5).settings.partition.round_clusters == (20,)
    with pytest.raises(InputError, match="--way=20 is more than 19, the default k of later rounds"):
        build_plan.complete(plan, 299, 5)


def test_a_learner_of_images_of_another_size_is_refused(finished):
    embedder = restoring.restore_embedder(finished)
    with pytest.raises(InputError, match="--learner_run: its learner takes 28x28x1 images, and these are 8x8x3"):
        embedder.fit(np.zeros((2, 8, 8, 3), np.uint8))


def test_a_last_round_does_not_go_on_from_other_clusters(tmp_path, capsys):
    folder = run(tmp_path, *TWO)
    last = folder / "last_round.json"
    stored = json.loads(last.read_text())
    last.write_text(json.dumps({**stored, "read": {"learner": "another"}}))
    flags = [*BASE, f"--workdir={folder}", f"--artifacts_dir={tmp_path / 'artifacts'}", *ROUNDS, *TWO]
    assert main(flags) == 2
    assert "clusters of earlier rounds that have changed since" in capsys.readouterr().err


def test_one_round_is_what_a_run_has_always_been():
    plan = build_plan.make(cli.parse([]))
    assert rounds.settings_of(plan.settings, 1, None) == plan.settings
    assert "round_steps" not in plan.identity
    assert build_plan.make(cli.parse(["--rounds=1"])).identity == plan.identity


def test_the_last_of_the_listed_clusters_and_steps_counts_for_all_other_rounds(tmp_path):
    settings = cli.parse(["--rounds=5", "--round_clusters=30,20,30", "--round_steps=7,9", "--clusters=21"])
    own = [rounds.settings_of(settings, i, tmp_path) for i in range(1, 6)]
    assert [one.partition.clusters for one in own] == [21, 30, 20, 30, 30]
    assert [one.learners["protonets"].steps for one in own] == [7, 9, 9, 9, settings.learners["protonets"].steps]
    assert [one.run.stage for one in own] == [*["train"] * 4, "all"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--round_clusters=20"], "--round_clusters is for several rounds: add --rounds=2 or more"),
        (["--rounds=2", "--algo=nearest_neighbours"], "--rounds=2 needs a learner with features"),
        (["--rounds=2", "--algo=maml"], "--rounds=2 needs a learner with features of single images"),
        (["--rounds=2", "--round_steps=5", "--outer_warmup=9", "--outer_schedule=cosine"],
         "--outer_warmup=9 leaves none of --round_steps=5"),
        (["--rounds=2", "--dataset=imagenet", "--imagenet_input=features"], "--rounds=2 needs images, and --dataset"),
        (["--rounds=3", "--round_clusters=30,19", "--augmentation=affine", "--first_partitioner=instances"],
         "--way=20 is more than --round_clusters=19"),
        (["--rounds=3", "--round_steps=5,6,7"], "--round_steps has 3 numbers, and --rounds=3 has 2 before the last"),
        (["--rounds=2", "--round_clusters=30,20"], "--round_clusters has 2 numbers, and --rounds=2 has 1 after"),
        (["--recipe=rounds", "--rounds=1"], "is for several rounds: .* or take --recipe=paper"),
        (["--partitioner=instances"], "from one image: add --augmentation=affine"),
        (["--rounds=2", "--first_partitioner=instances"], "--partitioner=instances makes the images of a class from"),
        (["--partitioner=instances", "--augmentation=affine", "--augment_support=false", "--augment_query=false"],
         "of support or query images"),
        (["--augmentation=affine", "--on_embeddings"], "--augmentation varies images, and --on_embeddings"),
        (["--rotate_classes", "--on_embeddings"], "--rotate_classes varies images"),
        (["--first_partitioner=kmean", "--rounds=2"], "did you mean kmeans"),
        (["--augmentation=afine"], "did you mean affine"),
        (["--affine_shear=0.1"], "--affine_shear is a setting of affine, which this run does not use"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(flags, message):
    with pytest.raises(InputError, match=message):
        cli.parse(flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--embedder=learner needs a trained run: add --learner_run=RUN"),
        (["--learner_run=nowhere"], "--learner_run=.*nowhere is not a run"),
    ],
)
def test_a_learner_to_embed_with_must_be_named_and_trained(flags, message):
    with pytest.raises(InputError, match=message):
        build_plan.make(cli.parse(["--embedder=learner", *flags]))


def test_a_learner_that_a_run_did_not_train_is_named(finished):
    with pytest.raises(InputError, match="has no trained maml: choose another run or --learner_algo"):
        build_plan.make(cli.parse(["--embedder=learner", f"--learner_run={finished}", "--learner_algo=maml"]))


def test_purity_counts_the_most_frequent_class_of_each_cluster():
    assert purity(np.array([0, 0, 0, 1, 1, -1]), np.array([5, 5, 2, 3, 3, 3])) == pytest.approx(4 / 5)


def test_agreement_is_over_the_images_that_both_cluster():
    one = np.repeat(np.arange(4), 5)
    assert agreement(one, one[::-1].copy()) == pytest.approx(1)
    assert agreement(np.where(one == 3, -1, one), one) == pytest.approx(1)
    assert agreement(one, np.tile(np.arange(5), 4)) < 0  # less than by chance


def test_a_partition_into_single_images_agrees_with_nothing():
    train = ImageSet(np.zeros((6, 8, 8, 1), np.uint8))
    clusters = AssignedPartitions([np.array([0, 0, 0, 2, 2, -1])])[0]
    row = described(clusters, InstancePartition(6), train)
    assert row == {"clusters": 2, "smallest": 2, "median": 2.5, "largest": 3, "clustered": 0.8333, "agreement": "",
                   "purity": ""}  # fmt: skip
