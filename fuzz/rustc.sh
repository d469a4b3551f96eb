#!/bin/sh
# The compiler for what is fuzzed: cargo calls it for the crates of this workspace (RUSTC_WORKSPACE_WRAPPER), the compiler's path
# first. What the fuzzer needs to see where an input went is asked of LLVM: the same flags as cargo-fuzz sets, without a sanitizer,
# which the stable compiler has none of. What we depend on is built as for the tests, once for both; generic code of it that our
# readers use (JSON, TOML) is compiled with ours and seen as well.
case " $* " in
*" --crate-name watchbell "* | *" --crate-name formats "*)
    exec "$@" -Copt-level=1 -Cdebug-assertions=on -Coverflow-checks=on --cfg fuzzing \
        -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
