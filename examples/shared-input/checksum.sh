#!/bin/sh
# Writes the SHA-256 of a file, in the format of `sha256sum -c`.
set -eu

cd "$TMP_INPUT_DIR"
name=${INPUT_FILE_PATH##*/}
sha256sum -- "$name" > "$TMP_OUTPUT_DIR/$name.sha256"
