import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.fewshot import losses


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_bytes_are_scaled_to_0_to_1_and_floats_are_unchanged():
    np.testing.assert_array_equal(losses.unit_range(np.array([0, 51, 255], np.uint8)), np.float32([0, 51, 255]) / 255)
    np.testing.assert_array_equal(losses.unit_range(np.float32([0.25, 1])), np.float32([0.25, 1]))


def test_prototypes_are_class_means(rng):
    support = floats(rng, 3, 4, 5)
    expected = [[sum(support[k, i, d] for i in range(4)) / 4 for d in range(5)] for k in range(3)]
    np.testing.assert_allclose(losses.prototypes(support), expected, rtol=1e-5, atol=1e-6)


def test_labeled_prototypes_are_class_means_of_any_number_of_rows_in_any_order(rng):
    support, labels = floats(rng, 6, 5), np.array([2, 0, 2, 1, 2, 0])
    expected = [support[labels == k].mean(0) for k in range(3)]
    np.testing.assert_allclose(losses.labeled_prototypes(support, labels, 3), expected, rtol=1e-5, atol=1e-6)


def test_both_forms_of_prototypes_agree_where_classes_are_equal(rng):
    support = floats(rng, 3, 4, 5)
    labels = np.repeat(np.arange(3), 4)
    other = losses.labeled_prototypes(support.reshape(12, 5), labels, 3)
    np.testing.assert_allclose(losses.prototypes(support), other, rtol=1e-5, atol=1e-6)


def test_squared_distances_are_sums_of_squared_differences(rng):
    points, centers = floats(rng, 4, 3), floats(rng, 2, 3)
    expected = [[sum((points[i, d] - centers[k, d]) ** 2 for d in range(3)) for k in range(2)] for i in range(4)]
    np.testing.assert_allclose(losses.squared_distances(points, centers), expected, rtol=1e-5)


def test_a_point_has_distance_zero_to_itself_however_far_from_the_origin():
    far = np.full((1, 64), 1e4, np.float32)
    assert float(losses.squared_distances(far, far)[0, 0]) == 0


def test_query_loss_is_the_mean_negative_log_softmax_of_the_label(rng):
    logits, labels = floats(rng, 4, 3), np.array([0, 2, 1, 1])
    expected = 0.0
    for i in range(4):
        expected -= np.log(np.exp(logits[i, labels[i]]) / sum(np.exp(logits[i, k]) for k in range(3))) / 4
    assert float(losses.query_loss(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_query_loss_of_equal_logits_is_the_logarithm_of_way():
    assert float(losses.query_loss(tf.zeros((6, 20)), np.arange(6))) == pytest.approx(np.log(20), rel=1e-6)


@pytest.mark.parametrize("query", [1, 2, 3])
def test_accuracy_counts_the_queries_whose_largest_logit_is_that_of_their_label(query, rng):
    way = 5
    labels = np.repeat(np.arange(way), query)
    logits = floats(rng, way * query, way) + 2 * np.eye(way, dtype=np.float32)[labels]
    expected = sum(max(range(way), key=lambda k: logits[i, k]) == labels[i] for i in range(len(labels))) / len(labels)
    assert expected > 0.5  # far from 1 / way, which comparing every guess with every label would give
    for kind in (np.int32, np.int64):
        assert float(losses.fraction_correct(logits, labels.astype(kind))) == pytest.approx(expected)


def test_episode_labels_are_class_major():
    np.testing.assert_array_equal(losses.episode_labels(3, 2), [0, 0, 1, 1, 2, 2])


def softmax_loss(logits, labels):
    rows = zip(logits.astype(np.float64), labels, strict=True)
    return np.mean([np.log(np.exp(row - row[y]).sum()) for row, y in rows])


def test_semi_normalized_distances_scale_the_centers_alone(rng):
    x, c = floats(rng, 6, 5), floats(rng, 3, 5)
    expected = [[((x[i] - c[k] / np.linalg.norm(c[k])) ** 2).sum() for k in range(3)] for i in range(6)]
    np.testing.assert_allclose(losses.semi_normalized_distances(x, c), expected, rtol=1e-5)


def test_semi_normalized_similarity_is_the_authors_inner_product_at_twice_the_factor(rng):
    x, c, labels = floats(rng, 6, 5), floats(rng, 3, 5), np.array([0, 2, 1, 1, 0, 2])
    inner = x @ (c / np.linalg.norm(c, axis=1, keepdims=True)).T
    ours = losses.query_loss(-0.5 * losses.semi_normalized_distances(x, c), labels)
    assert float(ours) == pytest.approx(softmax_loss(inner, labels), rel=1e-5)


def test_normalized_distances_are_two_minus_two_cosines(rng):
    x, c = floats(rng, 6, 5), floats(rng, 3, 5)
    expected = [[2 - 2 * x[i] @ c[k] / np.linalg.norm(x[i]) / np.linalg.norm(c[k]) for k in range(3)] for i in range(6)]
    np.testing.assert_allclose(losses.normalized_distances(x, c), expected, rtol=1e-4, atol=1e-5)


def test_the_zero_vector_stays_zero_and_has_a_finite_gradient():
    x = tf.Variable(np.zeros((1, 4), np.float32))
    with tf.GradientTape() as tape:
        y = losses.unit(x)
    assert not y.numpy().any()
    assert np.isfinite(tape.gradient(y, x).numpy()).all()


@pytest.mark.parametrize("negatives", [1, 2, 4])
def test_the_hard_loss_is_over_the_own_class_and_the_nearest_wrong_ones(rng, negatives):
    logits, labels = 3 * floats(rng, 7, 5), np.array([0, 1, 2, 3, 4, 0, 1])
    expected = []
    for row, y in zip(logits.astype(np.float64), labels, strict=True):
        wrong = sorted((row[k] for k in range(5) if k != y), reverse=True)[:negatives]
        expected.append(-np.log(np.exp(row[y]) / (np.exp(row[y]) + sum(np.exp(wrong)))))
    assert float(losses.hard_query_loss(tf.constant(logits), labels, negatives)) == pytest.approx(
        np.mean(expected), rel=1e-5
    )


def test_with_every_wrong_class_the_hard_loss_is_the_query_loss_and_so_is_its_gradient(rng):
    logits, labels = tf.Variable(floats(rng, 7, 5)), np.array([0, 1, 2, 3, 4, 0, 1])
    with tf.GradientTape(persistent=True) as tape:
        all_negatives, plain = losses.hard_query_loss(logits, labels, 4), losses.query_loss(logits, labels)
    np.testing.assert_allclose(all_negatives, plain, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(all_negatives, logits), tape.gradient(plain, logits), atol=1e-7)


def test_redraws_are_the_episode_and_orders_of_the_images_of_each_class(rng):
    rows = floats(rng, 3, 4, 2)
    drawn = losses.redraws(tf.constant(rows), 50, [7, 3]).numpy()
    np.testing.assert_array_equal(drawn[0], rows)
    for task in drawn:
        for before, after in zip(rows, task, strict=True):
            assert {tuple(row) for row in after} == {tuple(row) for row in before}
    first = np.array([[np.flatnonzero((rows[c] == task[c, 0]).all(axis=1))[0] for c in range(3)] for task in drawn[1:]])
    assert all(set(first[:, c]) == {0, 1, 2, 3} for c in range(3))  # every image of every class becomes support
    assert len({tuple(orders) for orders in first}) > 25  # and the classes are shuffled independently of each other


def test_redraws_are_a_function_of_the_seed(rng):
    rows = tf.constant(floats(rng, 3, 4, 2))
    first, same, other = (losses.redraws(rows, 5, [7, episode]).numpy() for episode in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
