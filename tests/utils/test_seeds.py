import numpy as np

from cactus_tf.utils import seeds


def test_each_purpose_has_its_own_stream():
    assert len({seeds.derive(seed, purpose) for seed in range(50) for purpose in ("a", "b")}) == 100


def test_a_generator_is_a_pure_function_of_seed_and_index():
    np.testing.assert_array_equal(seeds.counter_rng(5, 9).random(4), seeds.counter_rng(5, 9).random(4))


def test_neighboring_indices_share_no_numbers():
    drawn = np.concatenate([seeds.counter_rng(1, i).integers(2**62, size=500) for i in range(100)])
    assert len(set(drawn)) == len(drawn)
