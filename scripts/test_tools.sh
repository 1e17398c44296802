#!/bin/sh
# Makes sure that the programs which tests call are here: the README's tour is run with the real curl.
set -eu

say() { printf '%s\n' "$*" >&2; }

if command -v curl >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "The tests run the README's tour, which calls curl: installing Debian's package curl with apt-get."
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl >/dev/null
    exit 0
fi
say "The tests run the README's tour, which calls curl, and curl is not here. Run this, then the same make command again:"
say "    sudo apt-get install curl"
exit 1
