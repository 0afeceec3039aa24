#!/usr/bin/env bash
# The paper's miniImageNet rows, including the ablations.
# run_scripts/miniimagenet.sh [--short] --data_dir=FOLDER_OF_MINIIMAGENET [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  miniimagenet_deepcluster_protonets
  miniimagenet_deepcluster_maml
  miniimagenet_deepcluster_nearest_neighbours
  miniimagenet_deepcluster_baselines
  miniimagenet_deepcluster_one_partition_protonets
  miniimagenet_deepcluster_one_partition_maml
  miniimagenet_deepcluster_hyperplanes_protonets
  miniimagenet_deepcluster_hyperplanes_maml
  miniimagenet_deepcluster_hyperplanes_m0_maml
  miniimagenet_bigan_protonets
  miniimagenet_bigan_maml
  miniimagenet_bigan_nearest_neighbours
  miniimagenet_bigan_baselines
  miniimagenet_oracle_protonets
  miniimagenet_oracle_maml
  miniimagenet_scratch
)
run_all "$@"
