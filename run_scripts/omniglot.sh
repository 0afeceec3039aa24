#!/usr/bin/env bash
# The paper's Omniglot rows for ProtoNets and nearest neighbours, ablations included.
# run_scripts/omniglot.sh --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
for name in omniglot_acai_protonets omniglot_acai_nearest_neighbours omniglot_oracle_protonets omniglot_pixels_protonets omniglot_random_protonets; do
  python -m cactus_tf.main --flagfile="flags/$name.txt" "$@"
done
