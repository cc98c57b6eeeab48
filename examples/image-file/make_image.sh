#!/bin/sh
# Builds the image of image/Dockerfile with Docker or Podman, and writes it to shift-letters.tar.
set -eu

cd "$(dirname "$0")"
builder=$(command -v docker || command -v podman) || {
    echo "make_image.sh: install docker or podman: neither was found" >&2
    exit 1
}
"$builder" build --platform linux/amd64 --tag scar-example/shift-letters image
rm -f shift-letters.tar
"$builder" save --output shift-letters.tar scar-example/shift-letters
