#!/usr/bin/env bash
# The paper's Omniglot rows without the ablations (see ablations.sh), plus DeepCluster (not in the paper).
# run_scripts/omniglot.sh [--short] --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  omniglot_acai_protonets
  omniglot_acai_maml
  omniglot_acai_baselines
  omniglot_bigan_protonets
  omniglot_bigan_maml
  omniglot_bigan_baselines
  omniglot_deepcluster_protonets
  omniglot_deepcluster_maml
  omniglot_deepcluster_baselines
  omniglot_oracle_protonets
  omniglot_oracle_maml
  omniglot_scratch
)
run_all "$@"
