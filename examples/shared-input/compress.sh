#!/bin/sh
# Compresses a file.
set -eu

gzip -9 < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.gz"
