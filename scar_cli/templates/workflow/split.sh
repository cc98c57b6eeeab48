#!/bin/sh
# Splits a text file into parts. Each part starts the next function once.
set -eu

name=${INPUT_FILE_PATH##*/}
split -l "${LINES_PER_PART:-10}" -a 4 "$INPUT_FILE_PATH" "$TMP_OUTPUT_DIR/$name."
