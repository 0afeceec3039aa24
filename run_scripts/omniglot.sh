#!/usr/bin/env bash
# The paper's Omniglot rows for MAML, ProtoNets, training from scratch and nearest neighbours, ablations included.
# run_scripts/omniglot.sh --data_dir=FOLDER_OF_THE_ZIPS [further flags for every run]
set -euo pipefail
cd "$(dirname "$0")/.."
for name in omniglot_acai_maml omniglot_acai_protonets omniglot_acai_nearest_neighbours omniglot_scratch omniglot_oracle_maml omniglot_oracle_protonets omniglot_pixels_maml omniglot_pixels_protonets omniglot_random_maml omniglot_random_protonets; do
  python -m cactus_tf.main --flagfile="flags/$name.txt" "$@"
done
