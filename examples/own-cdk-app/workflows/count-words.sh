#!/bin/sh
set -eu
wc -w < "$INPUT_FILE_PATH" > "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.count"
