#!/usr/bin/env bash
# The authors' experiments on ImageNet with true labels; no published figures available.
# run_scripts/imagenet.sh [--short] --data_dir=FOLDER_OF_CLASSES [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
names=(
  imagenet_oracle_maml
  imagenet_oracle_larger_maml
  imagenet_resnet_oracle_maml
  imagenet_resnet_oracle_224_maml
  imagenet_resnet_mini_224_maml
)
run_all "$@"
