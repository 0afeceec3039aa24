#!/usr/bin/env bash
# scikit-learn's digits: 10-way tests, with every embedder.
# run_scripts/digits.sh [--short] [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  digits_pixels_protonets
  digits_pixels_maml
  digits_rounds
  digits_acai_protonets
  digits_bigan_protonets
  digits_bigan_maml
  digits_infogan_protonets
  digits_deepcluster_protonets
  digits_oracle_protonets
  digits_oracle_maml
)
run_all "$@"
