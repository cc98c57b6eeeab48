#!/bin/sh
# Responds to a POST of a file with its size and checksum. Parameters of the request are variables:
# ?algorithm=md5, sha1, sha256 or sha512. The response is also an output file, for callers that do not wait.
set -eu

if [ -z "${INPUT_FILE_PATH:-}" ]; then
    echo "POST a file here. ?algorithm=md5, sha1, sha256 (default) or sha512"
    exit 0
fi
algorithm=${algorithm:-sha256}
case $algorithm in
    md5 | sha1 | sha256 | sha512) ;;
    *)
        echo "unknown algorithm: $algorithm; expected md5, sha1, sha256 or sha512" >&2
        exit 1
        ;;
esac
sum=$("${algorithm}sum" < "$INPUT_FILE_PATH" | cut -d ' ' -f 1)
printf '{"bytes": %d, "%s": "%s"}\n' "$(wc -c < "$INPUT_FILE_PATH")" "$algorithm" "$sum" \
    | tee "$TMP_OUTPUT_DIR/$REQUEST_ID.json"
