#!/usr/bin/env bash
# A second judge over what the bot sent to Fly, which shares no code with ours: Prism serves Fly's own document, gets every kind of
# request that was recorded, and says which of them the document does not know.
#
# `tests/prism.sh FOLDER`, where FOLDER holds what the tests sent (WATCHBELL_REQUESTS=FOLDER cargo test). Without the document
# (WATCHBELL_SHARED, else ../shared), node or Prism it says so and passes.
set -euo pipefail
cd "$(dirname "$0")/.."
requests=$1
document=${WATCHBELL_SHARED:-../shared}/fly/openapi.strict.json
tools=${CARGO_TARGET_DIR:-target}/prism
prism=$tools/node_modules/.bin/prism

skip() {
    printf 'skipped: %s\n' "$1"
    exit 0
}
[ -f "$document" ] || skip "Fly's document is not there"
command -v node >/dev/null && command -v npm >/dev/null || skip "node and npm are not there"
if [ ! -x "$prism" ]; then
    mkdir -p "$tools"
    npm install --prefix "$tools" --ignore-scripts --no-audit --no-fund --silent @stoplight/prism-cli@5.16.0 >/dev/null 2>&1 ||
        skip "Prism cannot be installed"
fi

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
log=$(mktemp)
"$prism" mock --host 127.0.0.1 --port "$port" "$document" >"$log" 2>&1 &
judge=$!
trap 'kill "$judge" 2>/dev/null || true; rm -f "$log"' EXIT
python3 tests/prism.py "$requests" "$port" || {
    tail -n 5 "$log"
    exit 1
}
