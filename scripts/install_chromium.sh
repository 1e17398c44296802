#!/bin/sh
# Makes sure that a Chromium is here for the tests of pages and of the browser snippet. On Debian as root it installs
# the distribution's; elsewhere it says what to do. POSTHORN_CHROMIUM names another one to use.
set -eu

say() { printf '%s\n' "$*" >&2; }

for program in "${POSTHORN_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$program" ] && command -v "$program" >/dev/null 2>&1; then
        exit 0
    fi
done

say "Tests need chromium, which is not here: the tests of pages and of the browser snippet."
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    say "Run this, then the same make command again:"
    say "    sudo apt-get install --no-install-recommends chromium"
    exit 1
fi
say "Installing with apt-get: chromium"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
