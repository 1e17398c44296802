#!/bin/sh
# Makes .venv and installs what requirements.lock pins, hashes checked, when that has not been done yet.
# PYTHON names the interpreter to use; otherwise the first of the usual names that is new enough.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
venv="$root/.venv"
stamp="$venv/.installed"

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Prints the interpreter, or nothing.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        if is_new_enough "$PYTHON"; then
            printf '%s\n' "$PYTHON"
        fi
        return
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

# Debian keeps ensurepip, which fills a new environment with pip, in a package of its own.
ensure_venv_works() {
    if "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        return
    fi
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "This Python has no ensurepip: installing Debian's package $package (part of python3-venv) with apt-get."
        DEBIAN_FRONTEND=noninteractive
        export DEBIAN_FRONTEND
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$package"
        return
    fi
    if command -v apt-get >/dev/null 2>&1; then
        fail "This Python cannot make virtual environments. Run this, then the same make command again:" \
            "    sudo apt-get install $package"
    fi
    fail "This Python cannot make virtual environments: it has no ensurepip." \
        "Install your system's package for it, or name another Python: make run PYTHON=/path/to/python3.11"
}

make_venv() {
    python=$(find_python)
    if [ -z "$python" ]; then
        fail "Posthorn needs Python 3.11 or newer, and found none as ${PYTHON:-python3 or python3.11 to python3.14}." \
            "Install one, or name it: make run PYTHON=/path/to/python3.11"
    fi
    ensure_venv_works "$python"
    say "Making .venv with $("$python" --version)."
    "$python" -m venv "$venv"
}

fingerprint() {
    cat "$root/requirements.lock" "$root/pyproject.toml" | cksum
}

if [ -d "$venv" ] && ! is_new_enough "$venv/bin/python"; then
    say ".venv is broken or older than Python 3.11: making it anew."
    rm -rf "$venv"
fi
if [ ! -d "$venv" ]; then
    make_venv
fi
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$(fingerprint)" ]; then
    say "Installing the pinned packages. This takes a minute, once."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes -r "$root/requirements.lock"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e "$root"
    fingerprint >"$stamp"
fi
