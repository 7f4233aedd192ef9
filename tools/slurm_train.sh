#!/usr/bin/env bash
# A Slurm job:
#     tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
# Variables: GPUS (number of processes), GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, PYTHON;
# NO_GPU=1 asks for no GPU (processes on the CPU).
set -euo pipefail
if [ $# -lt 3 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi

PARTITION=$1
JOB_NAME=$2
CONFIG=$3
GPUS=${GPUS:-4}
GPUS_PER_NODE=${GPUS_PER_NODE:-4}
TOOLS=$(cd "$(dirname "$0")" && pwd)
GRES="--gres=gpu:$GPUS_PER_NODE"
if [ -n "${NO_GPU:-}" ]; then
    GRES=
fi

# GRES and SRUN_ARGS are left unquoted: they hold no argument, or several.
# shellcheck disable=SC2086
PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$PARTITION" \
    --job-name="$JOB_NAME" \
    $GRES \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$TOOLS/train.py" "$CONFIG" --launcher slurm "${@:4}"
