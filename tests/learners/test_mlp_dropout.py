import keras
import numpy as np
import pytest

from cactus_tf import learners
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.learners._inputs import canonical_order
from cactus_tf.types import AssignedPartitions


def points(seed, n, dim=4):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


SUPPORT, QUERY = 3 * points(0, 9), 3 * points(9, 12)
LABELS, QUERY_LABELS = np.arange(9) % 3, np.arange(12) % 3


def fresh(learner):
    """The Keras model that the learner begins the task with, ready for Keras' own `fit`."""
    support, labels = canonical_order(SUPPORT, LABELS)
    network = learner._restarted(support, labels, 3)
    network.model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    return network.model, support, labels


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_training_is_that_of_keras_on_the_full_batch(rate):
    learner = learners.build("mlp_dropout", units=16, rate=rate, epochs=12)
    logits = learner.classify(SUPPORT, LABELS, QUERY, 3)
    model, support, labels = fresh(learner)
    assert not np.allclose(model.predict(QUERY, verbose=0), logits, atol=0.02)
    model.fit(support, labels, batch_size=9, epochs=12, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.predict(QUERY, verbose=0), logits, rtol=1e-4, atol=1e-5)


def test_the_leaking_rule_is_early_stopping_on_the_queries_as_keras_does_it():
    learner = learners.build("mlp_dropout", units=16, epochs=5, legacy_leak=True)
    logits = learner.classify_leaking(SUPPORT, LABELS, QUERY, QUERY_LABELS, 3)
    model, support, labels = fresh(learner)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2)
    queries = (QUERY, QUERY_LABELS)
    done = model.fit(
        support, labels, batch_size=9, epochs=500, shuffle=False, verbose=0, validation_data=queries, callbacks=[stop]
    )
    assert 3 <= len(done.history["loss"]) < 500
    np.testing.assert_allclose(model.predict(QUERY, verbose=0), logits, rtol=1e-4, atol=1e-5)


def test_an_answer_depends_neither_on_the_tasks_before_nor_on_the_order_of_the_support_set():
    learner = learners.build("mlp_dropout", units=16, epochs=10)
    first = learner.classify(SUPPORT, LABELS, QUERY, 3)
    learner.classify(points(2, 5), np.array([0, 1, 2, 0, 1]), QUERY, 3)
    order = np.random.default_rng(0).permutation(9)
    np.testing.assert_array_equal(learner.classify(SUPPORT[order], LABELS[order], QUERY, 3), first)
    np.testing.assert_array_equal(learner.classify(SUPPORT, LABELS, QUERY[:5], 3), first[:5])
    other = learners.build("mlp_dropout", units=16, epochs=10, seed=1).classify(SUPPORT, LABELS, QUERY, 3)
    assert not np.allclose(other, first, atol=1e-3)


def test_every_task_has_weights_and_masks_of_its_own():
    learner = learners.build("mlp_dropout", units=16)
    states = []
    for labels in (LABELS, (LABELS + 1) % 3):
        network = learner._restarted(*canonical_order(SUPPORT, labels), 3)
        states.append([network.model.get_weights()[0], np.array(network.dropout.seed_generator.state)])
    assert not np.allclose(states[0][0], states[1][0])
    assert not np.array_equal(states[0][1], states[1][1])


def test_only_the_leaking_rule_is_told_the_labels_of_the_queries():
    rows = points(3, 120)  # noise: without the leak accuracy is chance
    episodes = Episodes(rows, AssignedPartitions([np.arange(120) % 6]), way=2, shot=1, query=5)
    query_labels = []
    learner = learners.build("mlp_dropout", units=4, epochs=1, legacy_leak=True)
    leaking = learner.classify_leaking
    learner.classify_leaking = lambda s, sl, q, ql, way: query_labels.append(ql) or leaking(s, sl, q, ql, way)
    evaluate(learner, episodes, 2)
    np.testing.assert_array_equal(query_labels, [[0] * 5 + [1] * 5] * 2)
    fair = learners.build("mlp_dropout", units=4, epochs=1)
    fair.classify_leaking = None  # would fail if it were called
    evaluate(fair, episodes, 2)
