#!/usr/bin/env bash
# Beyond the paper, on Omniglot: rounds, and tasks from copies of single images (ProtoCLR, UMTRA).
# run_scripts/beyond.sh [--short] --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  omniglot_rounds
  omniglot_protoclr
  omniglot_umtra
)
run_all "$@"
