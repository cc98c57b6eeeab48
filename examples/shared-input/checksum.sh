#!/bin/sh
# A file's SHA-256, in a form that `sha256sum -c` reads.
set -eu

cd "$TMP_INPUT_DIR"
name=${INPUT_FILE_PATH##*/}
sha256sum -- "$name" > "$TMP_OUTPUT_DIR/$name.sha256"
