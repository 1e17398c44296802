#!/bin/sh
# Makes the minified forms of the browser snippet and of its loader. Needs Node.js; run it after changing a source.
# The first line of each form has a digest of its source, by which the tests notice one that was not built again.
set -eu

cd "$(dirname "$0")/../src/posthorn/browser"

npx() {
    npm exec --yes --silent "$@"
}

for name in posthorn loader; do
    npx --package=acorn@8.15.0 -- acorn --ecma2017 --silent "$name.js"
    digest=$(sha256sum "$name.js" | cut -c 1-12)
    {
        printf '/*%s*/' "$digest"
        npx --package=terser@5.51.2 -- terser --ecma 2017 --toplevel --mangle \
            --compress passes=4,unsafe_arrows=true,ecma=2017 "$name.js"
    } >"$name.min.js.new"
    mv "$name.min.js.new" "$name.min.js"
    printf '%s.min.js: %s bytes\n' "$name" "$(wc -c <"$name.min.js")"
done
