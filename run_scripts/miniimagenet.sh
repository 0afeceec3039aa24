#!/usr/bin/env bash
# The paper's miniImageNet rows, ablations included.
# run_scripts/miniimagenet.sh --data_dir=FOLDER_OF_MINIIMAGENET [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
for name in miniimagenet_bigan_maml miniimagenet_bigan_protonets miniimagenet_bigan_nearest_neighbours miniimagenet_deepcluster_maml miniimagenet_deepcluster_protonets miniimagenet_deepcluster_nearest_neighbours miniimagenet_deepcluster_one_partition_maml miniimagenet_oracle_maml miniimagenet_oracle_protonets miniimagenet_scratch miniimagenet_deepcluster_hyperplanes_maml miniimagenet_bigan_baselines miniimagenet_deepcluster_baselines; do
  python -m cactus_tf.main --flagfile="flags/$name.txt" "$@"
done
