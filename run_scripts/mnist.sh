#!/usr/bin/env bash
# MNIST, 10-way: MAML, ProtoNets, baselines and oracles; no published figures available.
# run_scripts/mnist.sh [--short] --data_dir=FOLDER_OF_THE_FILES [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  mnist_acai_protonets
  mnist_acai_maml
  mnist_acai_baselines
  mnist_acai_cluster_colour
  mnist_bigan_protonets
  mnist_bigan_maml
  mnist_bigan_baselines
  mnist_infogan_protonets
  mnist_infogan_maml
  mnist_infogan_baselines
  mnist_deepcluster_protonets
  mnist_deepcluster_maml
  mnist_deepcluster_baselines
  mnist_oracle_protonets
  mnist_oracle_maml
  mnist_scratch
)
run_all "$@"
