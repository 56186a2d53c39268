#!/bin/sh
# From frames of MD17 to a simulation: md17.sh ROOT OUT [SETTINGS OF TRAIN]
# ROOT holds md17_ethanol.npz, or it is downloaded there.
set -eu
root=$1 out=$2
shift 2

# 950 frames for training, 50 for validation, all others for the errors at the
# end. Settings that come twice count as they come last.
torch-sake train --data md17:ethanol --root "$root" --out "$out" \
    --num_steps 20000 "$@"

# Errors by element, with intervals of confidence, and pictures of them:
torch-sake evaluate --checkpoint "$out" --data md17:ethanol --root "$root"

# 10 ps at 300 K, from the first frame of the data on:
torch-sake md --checkpoint "$out" --num_steps "${MD_STEPS:-20000}"
