#!/usr/bin/env bash
# Omniglot: tasks from labels, k-means (P = 100 and 1), hyperplanes, pixels and random labels; untrained and scratch.
# run_scripts/ablations.sh [--short] --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  omniglot_oracle_protonets
  omniglot_oracle_maml
  omniglot_acai_protonets
  omniglot_acai_maml
  omniglot_acai_one_partition_protonets
  omniglot_acai_one_partition_maml
  omniglot_acai_hyperplanes_protonets
  omniglot_acai_hyperplanes_maml
  omniglot_acai_hyperplanes_m0_protonets
  omniglot_acai_hyperplanes_m0_maml
  omniglot_pixels_protonets
  omniglot_pixels_maml
  omniglot_random_protonets
  omniglot_random_maml
  omniglot_untrained_protonets
  omniglot_scratch
)
run_all "$@"
