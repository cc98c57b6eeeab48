#!/bin/sh
# Writes NAME.gz, and a report NAME.txt with the sizes before and after, and the checksum.
set -eu

name=${INPUT_FILE_PATH##*/}
packed=$TMP_OUTPUT_DIR/$name.gz
gzip -9 < "$INPUT_FILE_PATH" > "$packed"
{
    echo "file:   $name"
    echo "bytes:  $(wc -c < "$INPUT_FILE_PATH"), packed $(wc -c < "$packed")"
    echo "sha256: $(sha256sum < "$INPUT_FILE_PATH" | cut -d ' ' -f 1)"
} > "$TMP_OUTPUT_DIR/$name.txt"
