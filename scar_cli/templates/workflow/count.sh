#!/bin/sh
# Counts the words of one part.
set -eu

name=${INPUT_FILE_PATH##*/}
count-words "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/$name.words"
