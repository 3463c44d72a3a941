#!/bin/sh
# Puts promtool, of Debian's package prometheus, into var/tools/bin; installs nothing.
# Where it is not to be had it says so, and the test that needs it is skipped.
set -u
cd "$(dirname "$0")/.."
tool=$PWD/var/tools/bin/promtool
[ -x "$tool" ] && exit 0
if command -v promtool >/dev/null; then
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 0
fetch() { apt-get -qq download prometheus >/dev/null 2>&1; }
[ "$(id -u)" = 0 ] && update="apt-get -qq update" || update=false
if fetch || { $update >/dev/null 2>&1 && fetch; }; then
    dpkg -x prometheus_*.deb . && mkdir -p "${tool%/*}" && cp usr/bin/promtool "$tool"
else
    echo "promtool cannot be fetched here: the test of /metrics by it is skipped" >&2
fi
exit 0
