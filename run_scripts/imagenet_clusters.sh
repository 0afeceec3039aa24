#!/usr/bin/env bash
# The authors' experiments on ImageNet with clusters from JSON files; no published figures available.
# run_scripts/imagenet_clusters.sh [--short] --data_dir=FOLDER_OF_CLASSES --cluster_files_dir=FOLDER_OF_JSON_FILES [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  imagenet_clusters_maml
  imagenet_clusters_larger_maml
  imagenet_resnet_clusters_maml
  imagenet_resnet_clusters_224_maml
  imagenet_resnet_semi_maml
  imagenet_resnet_semi_224_maml
)
run_all "$@"
