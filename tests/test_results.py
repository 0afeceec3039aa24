import numpy as np

from cactus_tf import results
from cactus_tf.evaluation import AdaptationAccuracy
from cactus_tf.types import Accuracy


def test_every_number_of_the_adaptation_stands_in_its_own_column():
    made = iter(np.arange(1, 9) / 10)
    support, query = ([Accuracy(next(made), next(made), np.zeros(1)) for _ in range(2)] for _ in range(2))
    first, second = results.adaptation_rows("maml", (5, 1), AdaptationAccuracy(support, query))
    assert first == {
        "algo": "maml",
        "way": 5,
        "shot": 1,
        "step": 0,
        "support_accuracy": 0.1,
        "query_accuracy": 0.5,
        "query_ci95": 0.6,
    }
    assert (second["step"], second["support_accuracy"], second["query_accuracy"], second["query_ci95"]) == (
        1,
        0.3,
        0.7,
        0.8,
    )
