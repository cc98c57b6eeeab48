#!/bin/sh
set -eu
sha256sum < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.sha256"
