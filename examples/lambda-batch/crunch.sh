#!/bin/sh
# Simulates work of a given duration: an input file that contains 30 takes 30 seconds.
set -eu

read -r seconds < "$INPUT_FILE_PATH"
step=0
while [ "$step" -lt "$seconds" ]; do
    step=$((step + 1))
    echo "step $step of $seconds"
    sleep 1
done
echo "$step steps" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.done"
