#!/bin/sh
# A property of QM9: qm9.sh ROOT OUT [SETTINGS OF TRAIN]
# ROOT holds the files of QM9 in 'raw', or they are downloaded there.
set -eu
root=$1 out=$2
shift 2

# 110,000 molecules for training, 10,000 for validation, all others for the
# errors at the end. On a GPU; sizes and rate are not tuned:
torch-sake train --data "qm9:${TARGET:-homo}" --root "$root" --out "$out" \
    --hidden_channels 128 --num_layers 4 --batch_size 64 \
    --num_steps 500000 --val_interval 5000 "$@"

torch-sake evaluate --checkpoint "$out" --data "qm9:${TARGET:-homo}" \
    --root "$root"
