#!/bin/sh
# fuzz/run.sh TARGET [SECONDS]: libFuzzer on one target (safetensors, gguf, torch, picture, tokenizer), 600 seconds unless said
# otherwise. Stable Rust: the instrumentation that `cargo fuzz` asks a nightly compiler for are LLVM passes, which every
# compiler has. A crash is kept in fuzz/artifacts/TARGET and makes the exit code 77.
set -eu
cd "$(dirname "$0")"
target=$1 seconds=${2:-600}
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
export RUSTFLAGS
cargo build --release --locked --quiet --target "$host" --bin "$target"
mkdir -p "artifacts/$target" "found/$target" "corpus/$target"
# What is found goes to found/ (not in git); corpus/ are the inputs to begin with, and those kept from earlier runs.
exec "target/$host/release/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=32768 \
  -print_final_stats=1 -artifact_prefix="artifacts/$target/" "found/$target" "corpus/$target"
