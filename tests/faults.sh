#!/usr/bin/env bash
# Shows that the simulation can fail: each patch in tests/faults plants one fault in a copy of the tree, and the simulation must
# find it within a few hundred histories. Ends with 1 when a fault goes unnoticed, a patch no longer fits, or the copy is not
# well to begin with.
#
#   tests/faults.sh              all of them
#   tests/faults.sh 3-*          those of invariant 3
#
# FAULTS_TARGET  where to build (target/faults)     SEEDS  histories to try (400)
set -euo pipefail
cd "$(dirname "$0")/.."
target=${FAULTS_TARGET:-$PWD/target/faults}
# Beside what is built, not within: cargo would take the copy for the tree itself.
tree=$target/tree
export SEEDS=${SEEDS:-400} CARGO_TARGET_DIR=$target/build RUST_BACKTRACE=0 CARGO_TERM_COLOR=never
unset SEED
cd tests/faults
patches=("${@:-}")
[ -n "${patches[0]}" ] || patches=(*.patch)
cd ../..
out=$target/out
mkdir -p "$tree" "$target/build"

copy() {
    # Times are kept, so that cargo builds anew only what a patch or its removal changed.
    git ls-files -z --cached --others --exclude-standard | xargs -0 -n 1 sh -c '[ ! -e "$0" ] || printf "%s\0" "$0"' |
        tar --null --files-from=- --create | tar --extract --directory "$tree"
}

simulate() {
    (cd "$tree" && cargo test --quiet --no-default-features --test simulation played) >"$out" 2>&1
}

copy
if ! simulate; then
    grep -m 1 -E '^(seed|error)' "$out" || tail -20 "$out"
    echo "the simulation fails without any fault"
    exit 1
fi
failed=0
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    copy
    if ! (cd "$tree" && patch --quiet --strip 1 --no-backup-if-mismatch) <"tests/faults/$name.patch" >"$out" 2>&1; then
        echo "STALE     $name: the patch does not fit any more"
        failed=1
        continue
    fi
    # The patched files count as new whatever their times.
    sed -n 's|^+++ b/||p' "tests/faults/$name.patch" | (cd "$tree" && xargs touch)
    touched=$(sed -n 's|^+++ b/||p' "tests/faults/$name.patch")
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
    # Back to what stands, and newer than what was built.
    for file in $touched; do cp "$file" "$tree/$file"; done
done
exit $failed
