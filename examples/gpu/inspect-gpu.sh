#!/bin/sh
# Writes which GPU the job has. A real script would process $INPUT_FILE_PATH with it.
set -eu

output=$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.gpu
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,memory.total --format=csv,noheader > "$output"
else
    echo "no GPU" > "$output"
fi
