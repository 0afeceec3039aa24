#!/usr/bin/env bash
# The paper's CelebA rows.
# run_scripts/celeba.sh [--short] --data_dir=FOLDER_OF_THE_OFFICIAL_FILES [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  celeba_deepcluster_protonets
  celeba_deepcluster_maml
  celeba_deepcluster_baselines
  celeba_bigan_protonets
  celeba_bigan_maml
  celeba_bigan_baselines
  celeba_oracle_protonets
  celeba_oracle_maml
  celeba_scratch
)
run_all "$@"
