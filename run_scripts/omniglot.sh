#!/usr/bin/env bash
# The paper's Omniglot rows, ablations included.
# run_scripts/omniglot.sh --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
for name in omniglot_acai_maml omniglot_acai_protonets omniglot_acai_baselines omniglot_scratch omniglot_oracle_maml omniglot_oracle_protonets omniglot_pixels_maml omniglot_pixels_protonets omniglot_random_maml omniglot_random_protonets omniglot_acai_one_partition_maml omniglot_acai_hyperplanes_maml omniglot_bigan_maml omniglot_bigan_protonets omniglot_bigan_baselines; do
  python -m cactus_tf.main --flagfile="flags/$name.txt" "$@"
done
