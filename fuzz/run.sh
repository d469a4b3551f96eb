#!/usr/bin/env bash
# Fuzzes the readers of what comes from outside: as many formats at once as there are processors.
#
#   fuzz/run.sh                  each format for 30 seconds
#   fuzz/run.sh 600              each for ten minutes
#   fuzz/run.sh 60 github log    these, for a minute each
#   fuzz/run.sh again log FILE   one input; SHOW=1 prints what is decided
#
# What is found stays in target/fuzz: what was worth keeping of a run in corpus/, an input that breaks something in found/.
# It begins with fuzz/seeds and the corpus of earlier runs.
# WATCHBELL_PAYLOADS  a folder with vendors' own bodies, read as well where it is there (../shared/payloads)
# AT_ONCE             formats at once
# TIMEOUT             one input may take so many seconds (10)
set -euo pipefail
cd "$(dirname "$0")/.."
all=(alertmanager sentry github pagerduty betterstack generic proof deploy machines logs figures certificate interactions typed markup log record policy)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
payloads=${WATCHBELL_PAYLOADS:-../shared/payloads}
at_once=${AT_ONCE:-$(nproc)}
timeout=${TIMEOUT:-10}
work=$target/fuzz

# Its own folder under the profile's: what we depend on is taken from there as the tests have built it.
RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc.sh cargo build --quiet --package watchbell-fuzz
program=$target/debug/formats

if [ "${1:-}" = again ]; then
    FORMAT=$2 exec "$program" "$3"
fi
seconds=${1:-30}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { sed -n '2,15s/^# \?//p' "$0"; exit 2; }
[ $# -gt 0 ] && shift
formats=("${@:-${all[@]}}")

one() {
    local name=$1 begin=() said=$work/said/$1
    mkdir -p "$work/corpus/$name" "$work/found/$name" "$work/said"
    for folder in "fuzz/seeds/$name" "$payloads"; do [ -d "$folder" ] && begin+=("$folder"); done
    if [ "$name" = policy ]; then cp data/policy.toml "$work/corpus/policy/shipped"; fi
    # Nobody types more; a body is tried as long as it is told apart from a shorter one.
    local most=16384
    case $name in typed | markup) most=4000 ;; esac
    if FORMAT=$name "$program" "$work/corpus/$name" "${begin[@]}" -max_total_time="$seconds" -timeout="$timeout" -rss_limit_mb=2048 \
        -max_len=$most -len_control=20 -reload=0 -print_final_stats=1 -dict=fuzz/words.dict \
        -artifact_prefix="$work/found/$name/" >"$said" 2>&1; then
        printf 'well    %-13s %s\n' "$name" "$(figures "$said")"
    else
        printf 'BROKEN  %-13s %s\n' "$name" "$(figures "$said")"
        grep -a -A5 "panicked at" "$said" | cut -c1-500
        return 1
    fi
}

# What the fuzzer's last line and its statistics say.
figures() {
    sed -n -E 's/^#[0-9]+.*DONE +cov: ([0-9]+) ft: ([0-9]+) corp: ([0-9]+).*/\1 edges, \2 features, \3 inputs kept/p;
        s/^stat::number_of_executed_units: +([0-9]+)/\1 runs/p; s/^stat::average_exec_per_sec: +([0-9]+)/\1 a second/p;
        s/^#[0-9]+\tINITED +cov: ([0-9]+).*/\1 edges at first/p' "$1" | paste -sd ';' | sed 's/;/, /g'
}

failed=0
running=0
for name in "${formats[@]}"; do
    if [ "$running" -ge "$at_once" ]; then
        wait -n || failed=1
        running=$((running - 1))
    fi
    one "$name" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
