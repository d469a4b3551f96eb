#!/usr/bin/env bash
# Shows that the simulation can fail: each patch in tests/faults plants one fault in a copy of the tree, and the simulation must
# find it within two thousand histories. Ends with 1 when a fault goes unnoticed, a patch no longer fits, or the copy is not
# well to begin with.
#
#   tests/faults.sh              all of them
#   tests/faults.sh '3-*'        those of promise 3, as ARCHITECTURE.md numbers them
#
# SEEDS  histories to try (2000); a fault that is found ends them early
set -euo pipefail
cd "$(dirname "$0")/.."
export SEEDS=${SEEDS:-2000} CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} RUST_BACKTRACE=0 CARGO_TERM_COLOR=never
unset SEED
target=$CARGO_TARGET_DIR/faults
tree=$target/tree
out=$target/out
patches=()
# shellcheck disable=SC2206 # a name may be a pattern
for wanted in "${@:-*}"; do patches+=(tests/faults/${wanted%.patch}.patch); done
mkdir -p "$tree"

copy() {
    # A file that is as it was is left alone: cargo builds anew whatever is newer than what it built, and nothing else.
    local file
    while IFS= read -r -d '' file; do
        if [ "$file" = Cargo.toml ]; then
            # A version of its own: what both depend on is built once, and cargo never takes a planted fault for the tree's own.
            sed '0,/^version = .*/s//version = "0.0.0-faults"/' Cargo.toml >"$out"
        else
            cp "$file" "$out"
        fi
        cmp --quiet "$out" "$tree/$file" || install -D --mode=644 "$out" "$tree/$file"
    done < <(find Cargo.toml Cargo.lock rust-toolchain.toml benches commands data fuzz src tests -path data/state -prune -o -type f -print0)
}

simulate() {
    (cd "$tree" && cargo test --quiet --profile histories --no-default-features --test simulation played) >"$out" 2>&1
}

copy
# Whether the tree is well is asked elsewhere (.ci/run); here only whether this copy plays at all.
if ! SEEDS=200 simulate; then
    grep -m 1 -E '^(seed|error)' "$out" || tail -20 "$out"
    echo "the simulation fails without any fault"
    exit 1
fi
failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    copy
    if ! (cd "$tree" && patch --quiet --strip 1 --no-backup-if-mismatch) <"$patch" >"$out" 2>&1; then
        echo "STALE     $name: the patch does not fit any more"
        failed=1
        continue
    fi
    if simulate; then
        echo "UNNOTICED $name"
        failed=1
    elif said=$(grep -m 1 '^seed ' "$out"); then
        echo "caught    $name: ${said:0:150}"
    else
        echo "BROKEN    $name: it does not build"
        tail -20 "$out"
        failed=1
    fi
done
exit $failed
