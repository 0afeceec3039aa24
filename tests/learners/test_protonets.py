import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from cactus_tf import learners
from cactus_tf.contracts import FeatureLearner, MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.losses import redraws
from cactus_tf.fewshot.training import meta_train
from cactus_tf.learners import protonets
from cactus_tf.types import AssignedPartitions, Episode
from cactus_tf.utils.seeds import derive

WAY, SHOT, QUERY = 3, 2, 4


def images(seed, *leading):
    return np.random.default_rng(seed).integers(0, 256, (*leading, 16, 16, 1), np.uint8)


def episode(seed=0, shot=SHOT, query=QUERY):
    return Episode(tf.constant(images(seed, WAY, shot)), tf.constant(images(seed + 1, WAY, query)), 0, 0)


def build(**settings):
    return learners.build("protonets", **{"image_shape": (16, 16, 1), "way": WAY, "filters": 4, "seed": 1, **settings})


@pytest.fixture(scope="module")
def trained():
    """A learner whose running averages are no longer those of the start."""
    learner = build()
    for seed in range(20):
        learner.training_loss(episode(seed))
    return learner


def test_protonets_are_meta_trained_and_have_features_per_image():
    assert isinstance(build(), MetaLearner)
    assert isinstance(build(), FeatureLearner)


@pytest.mark.parametrize(("shot", "query"), [(1, 1), (2, 4), (3, 1)])
def test_training_loss_is_the_papers_equation_on_features_of_the_whole_episode(shot, query):
    task, learner = episode(shot=shot, query=query), build()
    rows = np.concatenate([np.reshape(part, (-1, 16, 16, 1)) for part in task[:2]]) / np.float32(255)
    features = np.array(learner.encoder(rows, training=True), np.float64)
    support, queries = np.split(features, [WAY * shot])
    centers = [support[k * shot : (k + 1) * shot].mean(0) for k in range(WAY)]
    loss, right = 0.0, 0
    for i, z in enumerate(queries):
        scores = np.array([-((z - c) ** 2).sum() for c in centers])
        loss -= (scores[i // query] - np.log(np.exp(scores).sum())) / len(queries)
        right += scores.argmax() == i // query
    result = build().training_loss(task)
    assert float(result.loss) == pytest.approx(loss, rel=1e-4)
    assert float(result.metrics["accuracy"]) == pytest.approx(right / len(queries))


def test_training_loss_is_the_same_compiled_and_leaves_the_same_running_averages():
    eager, graph = build(), build()
    loss = eager.training_loss(episode()).loss
    compiled = tf.function(lambda task: graph.training_loss(task).loss)(episode())
    np.testing.assert_allclose(compiled, loss, rtol=1e-5)
    for a, b in zip(eager.variables, graph.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_holds_the_running_averages_too():
    learner = build()
    assert len(learner.trainable_variables) == 4 * 4
    assert len(learner.variables) == 4 * 6


def test_initial_weights_follow_from_the_seed():
    first, same, other = (np.array(build(seed=s).variables[0]) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_every_trained_variable_has_a_gradient_and_that_of_a_bias_before_batch_norm_is_none_or_rounding():
    learner = build()
    with tf.GradientTape() as tape:
        loss = learner.training_loss(episode()).loss
    gradients = tape.gradient(loss, learner.trainable_variables)
    first, *biases = (g for g, v in zip(gradients, learner.trainable_variables, strict=True) if v.name == "bias")
    assert first is None  # the norm is folded into the convolution
    gradients = [g for g in gradients if g is not first]
    assert all(g is not None for g in gradients)
    assert len(biases) == 3
    assert max(np.abs(g).max() for g in biases) < 1e-3 * max(np.abs(g).max() for g in gradients)


def test_features_are_those_of_running_averages_in_any_number_of_rows(trained, monkeypatch):
    monkeypatch.setattr(protonets, "_CHUNK", 4)
    rows = images(9, 11)
    expected = trained.encoder(rows / np.float32(255), training=False)
    np.testing.assert_allclose(trained.features(rows), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(trained.features(tf.constant(rows)), expected, rtol=1e-5, atol=1e-6)
    assert trained.features(rows[:0]).shape == (0, 4)


def test_classifying_images_is_classifying_their_features(trained):
    support, query, labels = images(0, 6), images(1, 5), np.array([0, 1, 2, 2, 1, 2])
    expected = trained.classify(support, labels, query, WAY)
    answer = trained.classify_features(trained.features(support), labels, trained.features(query), WAY)
    np.testing.assert_array_equal(answer, expected)


def test_logits_are_minus_squared_distances_to_the_means_of_unequal_classes(trained):
    support, query, labels = images(0, 6), images(1, 5), np.array([0, 1, 2, 2, 1, 2])
    z, queries = np.array(trained.features(support)), np.array(trained.features(query))
    expected = [[-((q - z[labels == k].mean(0)) ** 2).sum() for k in range(WAY)] for q in queries]
    np.testing.assert_allclose(trained.classify(support, labels, query, WAY), expected, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_support_set_does_not_matter(trained):
    support, query, labels = images(0, 6), images(1, 5), np.array([0, 1, 2, 2, 1, 2])
    order = np.array([3, 5, 0, 1, 4, 2])
    first = trained.classify(support, labels, query, WAY)
    np.testing.assert_allclose(trained.classify(support[order], labels[order], query, WAY), first, rtol=1e-4, atol=1e-5)


def test_a_query_is_answered_alike_whatever_else_is_asked(trained):
    support, query, labels = images(0, 6), images(1, 5), np.array([0, 1, 2, 2, 1, 2])
    together = np.array(trained.classify(support, labels, query, WAY))
    alone = np.concatenate([trained.classify(support, labels, query[i : i + 1], WAY) for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)


def test_a_class_without_support_is_never_chosen(trained):
    logits = np.array(trained.classify(images(0, 2), np.array([2, 0]), images(1, 5), WAY))
    assert (logits[:, 1] == -np.inf).all()
    assert np.isfinite(logits[:, [0, 2]]).all()


def test_gammas_start_at_one_or_uniform_in_0_to_1_each_block_its_own():
    gammas = [v for v in build(filters=32).variables if v.name == "gamma"]
    assert all((np.array(g) == 1).all() for g in gammas)
    legacy = [np.array(v) for v in build(filters=32, legacy_gain=True).variables if v.name == "gamma"]
    assert all(0 <= g.min() < 0.2 and 0.8 < g.max() < 1 for g in legacy)
    assert not np.array_equal(legacy[0], legacy[1])


def test_a_norm_that_mixes_images_is_an_error():
    with pytest.raises(InputError, match="choose running or none"):
        build(norm="batch")


def test_images_too_small_for_the_network_are_an_error():
    with pytest.raises(InputError, match="images of 8x8 are too small"):
        build(image_shape=(8, 8, 1))


# On embeddings

ROWS = np.random.default_rng(3).normal(size=(60, 7)).astype(np.float32)


def on_embeddings(**settings):
    return build(**{"on_embeddings": True, "embeddings": ROWS, "backbone": "linear", "filters": None, **settings})


def embedded_episode(index=0):
    return Episode(tf.constant(ROWS[:6].reshape(3, 2, 7)), tf.constant(ROWS[6:18].reshape(3, 4, 7)), index, 0)


def cosine(x, means):
    return np.array([[a @ m / np.linalg.norm(a) / np.linalg.norm(m) for m in means] for a in x])


def test_before_training_the_linear_map_compares_the_embeddings_themselves():
    labels = np.array([0, 0, 1, 1, 2, 2])
    means = np.stack([ROWS[:6][labels == c].mean(axis=0) for c in range(3)])
    logits = on_embeddings().classify(ROWS[:6], labels, ROWS[6:], 3)
    np.testing.assert_allclose(logits, -((ROWS[6:, None] - means) ** 2).sum(axis=-1), rtol=1e-4)


@pytest.mark.parametrize(("given", "factor"), [({}, 10), ({"temperature": 3.5}, 3.5)])
def test_cosine_logits_are_cosines_to_the_class_means_times_the_temperature(given, factor):
    labels = np.array([0, 0, 1, 1, 2, 2])
    means = np.stack([ROWS[:6][labels == c].mean(axis=0) for c in range(3)])
    logits = on_embeddings(metric="cosine", **given).classify(ROWS[:6], labels, ROWS[6:], 3)
    np.testing.assert_allclose(logits, factor * cosine(ROWS[6:], means), atol=1e-4)


def test_a_temperature_scales_euclidean_logits_too():
    labels = np.array([0, 1, 2, 0, 1, 2])
    plain, scaled = (on_embeddings(**s).classify(ROWS[:6], labels, ROWS[6:], 3) for s in ({}, {"temperature": 0.5}))
    np.testing.assert_allclose(scaled, 0.5 * np.asarray(plain), rtol=1e-6)


def test_a_class_without_support_is_never_the_answer_by_cosine():
    logits = np.asarray(on_embeddings(metric="cosine").classify(ROWS[:2], np.array([0, 2]), ROWS[6:], 3))
    assert (logits[:, 1] == -np.inf).all()


def test_training_and_classification_have_the_same_logits():
    learner, episode = on_embeddings(metric="cosine"), embedded_episode()
    logits = learner.classify(ROWS[:6], np.repeat(np.arange(3), 2), ROWS[6:18], 3)
    labels = np.repeat(np.arange(3), 4)
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    np.testing.assert_allclose(learner.training_loss(episode).loss, np.mean(expected), rtol=1e-5)


def test_dropout_is_a_function_of_the_task_and_the_seed_and_ends_with_training():
    learner, plain = on_embeddings(feature_dropout=0.5), on_embeddings()
    losses = [float(learner.training_loss(embedded_episode(i)).loss) for i in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    assert float(on_embeddings(feature_dropout=0.5, seed=2).training_loss(embedded_episode(1)).loss) != losses[0]
    labels = np.array([0, 0, 1, 1, 2, 2])
    answers = [one.classify(ROWS[:6], labels, ROWS[6:], 3) for one in (learner, plain)]
    np.testing.assert_array_equal(*answers)


def test_dropout_of_images_is_refused():
    with pytest.raises(InputError, match="--on_embeddings"):
        build(feature_dropout=0.3)


def test_an_unknown_metric_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="euclidean, cosine"):
        build(metric="manhattan")


# Where the linear map of embeddings starts

EMBEDDINGS = np.random.default_rng(3).normal(size=(40, 12)).astype(np.float32)


def adapter(**settings):
    return learners.build(
        "protonets", **{"backbone": "linear", "on_embeddings": True, "embeddings": EMBEDDINGS, **settings}
    )


def test_the_first_features_of_a_map_that_starts_as_pca_are_the_principal_components():
    features = np.asarray(adapter(filters=4, start="pca").features(EMBEDDINGS))
    expected = PCA(4).fit_transform(EMBEDDINGS)
    np.testing.assert_allclose(np.abs(features - features.mean(0)), np.abs(expected), atol=1e-4)


def test_a_map_starts_as_the_identity_unless_told_otherwise():
    np.testing.assert_array_equal(adapter().features(EMBEDDINGS), EMBEDDINGS)
    np.testing.assert_array_equal(adapter(start="identity").features(EMBEDDINGS), EMBEDDINGS)


def test_a_map_that_is_restored_needs_one_row_of_embeddings():
    blank = adapter(filters=4, start="pca", restored=True, embeddings=EMBEDDINGS[:1])
    assert blank.features(EMBEDDINGS).shape == (40, 4)


def test_a_start_that_cannot_be_had_is_refused():
    with pytest.raises(InputError, match="choose from identity, pca"):
        adapter(start="pac")
    with pytest.raises(InputError, match="add --on_embeddings --backbone=linear"):
        adapter(backbone="mlp", start="pca")
    with pytest.raises(InputError, match="add --on_embeddings --backbone=linear"):
        build(start="pca")


def feature_loss(features, support, query, similarity, negatives):
    """Loss and accuracy of one task of features [way, per_class, dim], whose columns are support and query."""
    centers, losses, right = features[:, support].mean(axis=1), [], []
    for label in range(WAY):
        for x in features[label, query]:
            scores = np.array([similarity(x, c) for c in centers])
            wrong = np.sort(np.delete(scores, label))[::-1][: negatives or WAY - 1]
            losses.append(np.log(1 + np.exp(wrong - scores[label]).sum()))
            right.append(scores.argmax() == label)
    return np.mean(losses), np.mean(right)


def unit(x):
    return x / np.linalg.norm(x)


@pytest.mark.parametrize("normalize", ["none", "support", "both"])
@pytest.mark.parametrize("negatives", [0, 1])
def test_training_loss_with_normalization_and_hard_negatives_is_that_of_a_loop(normalize, negatives):
    settings = {"normalize": normalize, "hard_negatives": negatives, "temperature": 0.5}
    task, learner = episode(), build()
    rows = np.concatenate([task.support, task.query], axis=1).reshape(-1, 16, 16, 1) / np.float32(255)
    features = np.array(learner.encoder(rows, training=True), np.float64).reshape(WAY, SHOT + QUERY, -1)

    def similarity(x, c):
        x, c = unit(x) if normalize == "both" else x, c if normalize == "none" else unit(c)
        return -0.5 * ((x - c) ** 2).sum()

    loss, right = feature_loss(features, slice(0, SHOT), slice(SHOT, None), similarity, negatives)
    result = build(**settings).training_loss(task)
    assert float(result.loss) == pytest.approx(loss, rel=1e-4)
    assert float(result.metrics["accuracy"]) == pytest.approx(right)


def test_training_loss_with_redraws_is_the_mean_over_tasks_of_the_same_features():
    task, learner = episode(), build()
    rows = np.concatenate([task.support, task.query], axis=1).reshape(-1, 16, 16, 1) / np.float32(255)
    features = tf.reshape(learner.encoder(rows, training=True), (WAY, SHOT + QUERY, -1))
    drawn = redraws(features, 4, [derive(1, "redraws"), 0]).numpy().astype(np.float64)
    each = [feature_loss(f, slice(0, SHOT), slice(SHOT, None), lambda x, c: -((x - c) ** 2).sum(), 0) for f in drawn]
    result = build(redraws=4).training_loss(task)
    assert float(result.loss) == pytest.approx(np.mean([loss for loss, _ in each]), rel=1e-4)
    assert float(result.metrics["accuracy"]) == pytest.approx(np.mean([right for _, right in each]))


def test_redraws_pass_each_image_through_the_network_once():
    plain, many = build(), build(redraws=8)
    for learner in (plain, many):
        learner.training_loss(episode())
    for a, b in zip(plain.variables, many.variables, strict=True):  # the running averages count one batch
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_training_with_every_option_resumes_as_if_uninterrupted(tmp_path):
    def train(folder, steps):
        rows = images(0, 40)
        tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=WAY, shot=1, query=3)
        learner = build(redraws=3, normalize="support", hard_negatives=1)
        meta_train(learner, tasks, steps=steps, folder=folder)
        return [np.array(variable) for variable in learner.variables]

    whole = train(None, 6)
    train(tmp_path, 3)
    for a, b in zip(train(tmp_path, 6), whole, strict=True):
        np.testing.assert_array_equal(a, b)


def test_classification_has_the_normalization_of_training():
    learner = build(normalize="support")
    support, query = np.float32([[3, 0], [0, 1]]), np.float32([[2, 1.5]])
    features = [np.pad(x, ((0, 0), (0, learner.encoder.output_shape[-1] - 2))) for x in (support, query)]
    logits = np.asarray(learner.classify_features(features[0], [0, 1], features[1], 2))
    np.testing.assert_allclose(logits, [[-(1 + 1.5**2), -(4 + 0.25)]], rtol=1e-5)


def test_options_that_cannot_be_had_are_refused():
    with pytest.raises(InputError, match="--protonets_normalize=query: choose from none, support, both"):
        build(normalize="query")
    with pytest.raises(InputError, match="--protonets_normalize=both is for --protonets_metric=euclidean; cosine"):
        build(normalize="both", metric="cosine")
    with pytest.raises(InputError, match="--protonets_hard_negatives=3: a query of a 3-way task has 2 wrong classes"):
        build(hard_negatives=3)
