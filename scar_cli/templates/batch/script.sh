#!/bin/sh
# Runs as one job for each file. The files in $TMP_OUTPUT_DIR become the output.
set -eu

name=${INPUT_FILE_PATH##*/}
echo "Packing $name"
pack "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/$name.gz"
