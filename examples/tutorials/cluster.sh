#!/bin/bash
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --signal=TERM@120
# Trains on 32 GPUs: sbatch cluster.sh DATA OUT [SETTINGS OF TRAIN]
# Two minutes before the time is over, the run saves its state and ends. The
# same command, once more, goes on from there.
set -eu
data=$1 out=$2
shift 2

# Frames in a file that is not read into memory, from the first job on:
frames=${data%.*}.frames
if [ ! -e "$frames" ]; then
    torch-sake convert --data "$data" --out "$frames"
fi

resume=
if [ -e "$out/last.safetensors" ]; then
    resume=--resume
fi
srun torch-sake train --data "$frames" --out "$out" \
    --devices 8 --num_nodes 4 --batch_size 256 --num_workers 3 \
    --num_train 1000000 --num_val 10000 --num_steps 500000 \
    --val_interval 5000 "$@" $resume
