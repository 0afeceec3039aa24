#!/usr/bin/env bash
# Your own pictures.
# run_scripts/folder.sh [--short] --data_dir=PICTURES --eval_dir=LABELED_PICTURES [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  folder_pretrained_protonets
  folder_protonets
  folder_maml
)
run_all "$@"
