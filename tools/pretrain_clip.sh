#!/usr/bin/env bash
# Pre-trains the small CLIP from nothing, measures its noun recall and exports its weights:
#     tools/pretrain_clip.sh [options of tools/train.py]
# Variables: CONFIG, WORK_DIR, OUT, PROCESSES, PYTHON. Two processes of one thread each are faster on
# two cores than one process of two threads.
set -euo pipefail
TOOLS=$(cd "$(dirname "$0")" && pwd)
CONFIG=${CONFIG:-$TOOLS/../configs/clip/small_clip_shapes.py}
WORK_DIR=${WORK_DIR:-work_dirs/small_clip_shapes}
OUT=${OUT:-$WORK_DIR/small_clip_shapes.safetensors}
export PYTHON=${PYTHON:-python} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH="$TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"

started=$(date +%s)
"$TOOLS/dist_train.sh" "$CONFIG" "${PROCESSES:-2}" --work-dir "$WORK_DIR" "$@"
minutes=$((($(date +%s) - started) / 60))

best=$(ls -t "$WORK_DIR"/best_noun_recall_*.pth | head -n 1)
"$PYTHON" "$TOOLS/model_converters/export_clip.py" "$best" "$OUT" --measure "$CONFIG" \
    --metadata "config=$(basename "$CONFIG")" "command=tools/pretrain_clip.sh $*" \
    "minutes=$minutes"
