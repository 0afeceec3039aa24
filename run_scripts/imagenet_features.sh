#!/usr/bin/env bash
# The authors' experiment on ImageNet features, one .npy file per image; no published figures available.
# run_scripts/imagenet_features.sh [--short] --data_dir=FOLDER_OF_CLASSES --cluster_files_dir=FOLDER_OF_JSON_FILES [further flags]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  imagenet_clusters_features_maml
)
run_all "$@"
