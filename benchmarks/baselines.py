"""Times the evaluation of the baselines: 1000 episodes of 5-way 5-shot on 256-dimensional embeddings.

    python benchmarks/baselines.py [--learners=NAME,NAME] [--episodes=1000] [--way=5] [--shot=5] [--clusters=500]
    python benchmarks/baselines.py --solvers [--data_dir=FOLDER] [--episodes=200]

Prints for each learner the seconds of preparation (clustering, with a single start) and of all episodes. With
--solvers, compares logistic regression with scikit-learn's SAGA on the raw embeddings and with the minimum, found by
L-BFGS, on the same episodes: accuracies, paired differences from SAGA, seconds. The embeddings are synthetic noisy
classes, or, if --data_dir holds the Omniglot files, the principal components of its pixels.
"""

import argparse
import time

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from cactus_tf import datasets, learners, plugins
from cactus_tf.contracts import ClusterLearner
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate, paired_difference
from cactus_tf.types import AssignedPartitions

DIMS = 256
LEARNERS = "nearest_neighbours,logistic_regression,cluster_matching,cluster_colour,mlp_dropout"


class Plain:
    """scikit-learn's logistic regression on the raw embeddings."""

    consumes = "embeddings"

    def __init__(self, **settings):
        self._model = LogisticRegression(max_iter=1000, random_state=0, **settings)

    def classify(self, support, support_labels, query, way):
        return self._model.fit(support, support_labels).decision_function(query)


def compare_solvers(tasks, episodes):
    contenders = {
        "SAGA, as the authors": Plain(solver="saga", tol=1e-4),
        "ours": learners.build("logistic_regression"),
        "L-BFGS, the minimum": Plain(solver="lbfgs", tol=1e-5),
    }
    first = None
    for name, learner in contenders.items():
        accuracy, seconds = timed(lambda learner=learner: evaluate(learner, tasks, episodes))
        first = first or accuracy
        pair = paired_difference(accuracy, first)
        difference = f"{100 * pair.mean:+.2f} ± {100 * pair.ci95:.2f}"
        print(f"{name:22} {100 * accuracy.mean:.2f}%  {difference}  {seconds}", flush=True)


def embeddings(data_dir):
    """(training embeddings, test embeddings, partitions of the test images)."""
    if data_dir:
        data = datasets.load("omniglot", data_dir)
        train, test = (x.images.reshape(len(x), -1).astype(np.float32) / 255 for x in (data.train, data.test))
        pca = PCA(DIMS, random_state=0).fit(train)
        return pca.transform(train), pca.transform(test), data.test.partitions
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(1523), 20)
    rows = (rng.normal(size=(1523, DIMS))[labels] + 2 * rng.normal(size=(len(labels), DIMS))).astype(np.float32)
    return rows[:22000], rows[22000:], AssignedPartitions([labels[22000:] - 1100])


def timed(call):
    """The call's result, and its wall and CPU seconds as text."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, f"{time.perf_counter() - wall:.1f} s ({time.process_time() - cpu:.1f} s of CPU)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", default=LEARNERS)
    parser.add_argument("--data_dir")
    parser.add_argument("--solvers", action="store_true")
    for name, default in {"episodes": 1000, "way": 5, "shot": 5, "clusters": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    train, test, partitions = embeddings(args.data_dir)
    tasks = Episodes(test, partitions, way=args.way, shot=args.shot, query=5)
    if args.solvers:
        compare_solvers(tasks, args.episodes)
        return
    for name in args.learners.split(","):
        starts = {"starts": 1} if plugins.info("learners", name).uses_clusters else {}
        learner = learners.build(name, embeddings=train, clusters=args.clusters, **starts)
        _, before = timed(learner.prepare if isinstance(learner, ClusterLearner) else lambda: None)
        accuracy, seconds = timed(lambda learner=learner: evaluate(learner, tasks, args.episodes))
        percent = f"{100 * accuracy.mean:.2f}%"
        print(f"{name:20} preparation {before}, {args.episodes} episodes {seconds}, {percent}", flush=True)


if __name__ == "__main__":
    main()
