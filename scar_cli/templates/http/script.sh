#!/bin/sh
# Runs once for each request. Query parameters are environment variables.
set -eu

if [ -z "${INPUT_FILE_PATH:-}" ]; then
    echo "Send a file as the body of a POST request." >&2
    exit 1
fi
describe "$INPUT_FILE_PATH"
