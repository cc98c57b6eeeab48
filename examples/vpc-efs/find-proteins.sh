#!/bin/sh
# Searches for the proteins of a FASTA file in a database that is too large for an image, so it is on EFS.
set -eu

name=${INPUT_FILE_PATH##*/}
blastp -query "$INPUT_FILE_PATH" -db "$DATABASE" -num_threads "$(nproc)" -evalue 1e-5 -outfmt 7 \
    -out "$TMP_OUTPUT_DIR/${name%.*}.hits"
