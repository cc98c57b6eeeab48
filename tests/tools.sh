#!/bin/sh
# Installs programs that some tests need: a real registry server, a static busybox for images, a sandbox like
# Lambda's, the parts of udocker's engines, a browser, and tools that check assembled images. Needs root and apt.
# A test whose program is missing is skipped, with a reason. With CI=true, a missing program is a failure.
missing=""
for pair in docker-registry:docker-registry busybox:busybox-static bwrap:bubblewrap fakechroot:fakechroot patchelf:patchelf proot:proot musl-gcc:musl-tools chromium:chromium slirp4netns:slirp4netns pasta:passt skopeo:skopeo umoci:umoci; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "Installing Debian packages that the tests use:$missing"
  log=$(mktemp)
  if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    rm -f "$log"
    exit 0
  fi
  tail -n 5 "$log"
  rm -f "$log"
fi
echo "These packages are missing, and the tests that need them are skipped:$missing"
echo "To run all tests: apt install$missing"
[ "${CI:-}" != true ]
