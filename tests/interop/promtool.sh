#!/usr/bin/env bash
# Fetches Prometheus' promtool (Debian package, unpacked, not installed) into the folder given and prints its path.
#   promtool.sh DIR
# With a second argument, a URL, it checks what is served there:   promtool.sh DIR http://127.0.0.1:9090/metrics
set -euo pipefail

mkdir -p "$1"
dir=$(cd "$1" && pwd)
tool=$dir/root/usr/bin/promtool

if [ ! -x "$tool" ]; then
  if command -v promtool >/dev/null; then
    mkdir -p "$(dirname "$tool")"
    ln -sf "$(command -v promtool)" "$tool"
  else
    cd "$dir"
    # A fresh machine may have no package lists yet; only root can fetch them.
    if ! apt-get download prometheus >&2; then
      apt-get update >&2
      apt-get download prometheus >&2
    fi
    dpkg -x prometheus_*.deb root
  fi
fi

if [ $# -gt 1 ]; then
  curl --silent --show-error --fail "$2" | "$tool" check metrics
else
  echo "$tool"
fi
