#!/usr/bin/env bash
# The digits rows of docs/reproduction.md. Further flags go to every run: run_scripts/digits.sh --seed=1
set -euo pipefail
cd "$(dirname "$0")/.."
for name in digits_pixels_protonets digits_pixels_maml digits_acai_protonets digits_oracle_protonets digits_oracle_maml; do
  python -m cactus_tf.main --flagfile="flags/$name.txt" "$@"
done
