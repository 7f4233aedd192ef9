#!/usr/bin/env bash
# Pre-trains the small CLIP from nothing, measures its noun recall and exports its weights:
#     projects/shapes_world/pretrain.sh [options of tools/train.py]
# Variables: CONFIG, WORK_DIR, OUT, PROCESSES, PYTHON. Two processes of one thread each are faster on
# two cores than one process of two threads.
set -euo pipefail
PROJECT=$(cd "$(dirname "$0")" && pwd)
TOOLS=$PROJECT/../../tools
CONFIG=${CONFIG:-$PROJECT/configs/small_clip_shapes.py}
WORK_DIR=${WORK_DIR:-work_dirs/small_clip_shapes}
OUT=${OUT:-$WORK_DIR/small_clip_shapes.safetensors}
export PYTHON=${PYTHON:-python} OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH="$PROJECT/../..${PYTHONPATH:+:$PYTHONPATH}"

started=$(date +%s)
"$TOOLS/dist_train.sh" "$CONFIG" "${PROCESSES:-2}" --work-dir "$WORK_DIR" "$@"
minutes=$((($(date +%s) - started) / 60))

best=$(ls -t "$WORK_DIR"/best_noun_recall_*.pth | head -n 1)
"$PYTHON" "$PROJECT/export_clip.py" "$best" "$OUT" --measure "$CONFIG" \
    --metadata "config=$(basename "$CONFIG")" "command=projects/shapes_world/pretrain.sh $*" \
    "minutes=$minutes"
