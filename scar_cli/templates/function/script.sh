#!/bin/sh
# Runs once for each file. The files in $TMP_OUTPUT_DIR become the output.
set -eu

name=${INPUT_FILE_PATH##*/}
echo "Counting the words of $name"
count-words "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$name.words"
