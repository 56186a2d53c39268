#!/bin/sh
# A potential learns from a few frames of another kind:
# finetune.sh CHECKPOINT DATA TEST OUT [SETTINGS OF TRAIN]
set -eu
checkpoint=$1 data=$2 test=$3 out=$4
shift 4

# What it knows already:
torch-sake evaluate --checkpoint "$checkpoint" --data "$test" \
    --out "$out/before"

# 20 frames are enough if most is known. The rate is a third of the default,
# so that not all of it is forgotten:
torch-sake train --init "$checkpoint" --data "$data" --out "$out/tuned" \
    --num_train 20 --num_val 5 --num_test 0 --num_steps 1000 \
    --val_interval 50 --learning_rate 1e-3 "$@"

torch-sake evaluate --checkpoint "$out/tuned" --data "$test"
