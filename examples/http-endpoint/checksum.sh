#!/bin/sh
# POST a file, and the answer is its size and its checksum. Parameters of the request arrive as variables:
# ?algorithm=md5, sha1, sha256 or sha512. The answer is an output too, for callers that did not wait for it.
set -eu

if [ -z "${INPUT_FILE_PATH:-}" ]; then
    echo "POST a file here. ?algorithm=md5, sha1, sha256 (if you name none) or sha512"
    exit 0
fi
algorithm=${algorithm:-sha256}
case $algorithm in
    md5 | sha1 | sha256 | sha512) ;;
    *)
        echo "There is no algorithm of this name here: $algorithm" >&2
        exit 1
        ;;
esac
sum=$("${algorithm}sum" < "$INPUT_FILE_PATH" | cut -d ' ' -f 1)
printf '{"bytes": %d, "%s": "%s"}\n' "$(wc -c < "$INPUT_FILE_PATH")" "$algorithm" "$sum" \
    | tee "$TMP_OUTPUT_DIR/$REQUEST_ID.json"
