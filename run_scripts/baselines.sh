#!/usr/bin/env bash
# Learners without meta-training: on each embedding of a data set, and from random weights.
# run_scripts/baselines.sh [--short] [--dataset=omniglot|mnist|miniimagenet|celeba] --data_dir=FOLDER [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
. run_scripts/_runs.sh
dataset=omniglot
for flag in "$@"; do
  if [[ $flag == --dataset=* ]]; then dataset=${flag#*=}; fi
done
case $dataset in
  omniglot) embeddings="acai pixels bigan deepcluster" ;;
  mnist) embeddings="acai bigan infogan deepcluster" ;;
  miniimagenet | celeba) embeddings="deepcluster bigan" ;;
  *) echo "--dataset=$dataset has no baselines; choose from omniglot, mnist, miniimagenet, celeba" >&2 && exit 2 ;;
esac
names=()
for embedding in $embeddings; do
  names+=("${dataset}_${embedding}_baselines")
done
if [[ $dataset == omniglot ]]; then names+=(omniglot_acai_nearest_neighbours); fi
names+=("${dataset}_scratch")
run_all "$@"
