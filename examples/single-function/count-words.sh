#!/bin/sh
# Writes a table of the words of a text, the most frequent first: "     12 and".
set -eu

name=${INPUT_FILE_PATH##*/}
echo "Counting the words of $name"
tr -s '[:space:][:punct:]' '\n' < "$INPUT_FILE_PATH" | tr 'A-Z' 'a-z' | sed '/^$/d' \
    | sort | uniq -c | sort -k1,1nr -k2 > "$TMP_OUTPUT_DIR/$name.words"
