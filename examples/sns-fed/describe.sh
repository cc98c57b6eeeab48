#!/bin/sh
# Writes the key, size and checksum of a new satellite file as one line of JSON.
set -eu

size=$(wc -c < "$INPUT_FILE_PATH")
sum=$(sha256sum < "$INPUT_FILE_PATH" | cut -d ' ' -f 1)
printf '{"key": "%s", "bytes": %d, "sha256": "%s"}\n' "$STORAGE_OBJECT_KEY" "$size" "$sum" \
    | tee "$TMP_OUTPUT_DIR/${INPUT_FILE_PATH##*/}.json"
