#!/bin/sh
# Trains the tiny checkpoint for a few steps in one process and in two that share the same samples, and compares the traces:
# N ranks of batch B follow one rank of batch N*B to rounding. Installs OpenMPI and libclang where they are missing (Debian,
# Ubuntu). Not part of `make test`: most machines have no MPI.
set -eu
cd "$(dirname "$0")/.."

if ! command -v mpirun >/dev/null || ! command -v mpicc >/dev/null || ! ls /usr/lib/*/libclang*.so* /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; then
    packages="libopenmpi-dev openmpi-bin libclang-dev"
    if [ "$(id -u)" = 0 ]; then
        apt-get install -y --no-install-recommends $packages >/dev/null
    else
        echo "MPI is missing; run: sudo apt-get install $packages" >&2
        exit 1
    fi
fi

cargo build --quiet --features mpi
program="${CARGO_TARGET_DIR:-target}/debug/dreamllm"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The tiny config with other places, sizes and steps; no looks on the way.
config() { # ranks, batch
    sed -e "s|^out = .*|out = \"$work/$1\"|" -e "s|^steps = 40|steps = 6|" -e "s|^batch = .*|batch = $2|" \
        -e "s|^every = .*|every = 3|" -e "/^\[samples\]/,\$d" configs/tiny.toml >"$work/$1.toml"
}
config 1 4
config 2 2
"$program" train --config "$work/1.toml" -q
mpirun --allow-run-as-root --oversubscribe --mca mpi_yield_when_idle 1 -n 2 "$program" train --config "$work/2.toml" -q

python3 - "$work/1/log.jsonl" "$work/2/log.jsonl" <<'PYTHON'
import json, sys
one, two = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
assert len(one) == len(two) == 6, (len(one), len(two))
worst = 0.0
for a, b in zip(one, two):
    assert (a["samples"], a["tokens"]) == (b["samples"], b["tokens"]), (a, b)
    for x, y in [(a["loss"], b["loss"]), (a["norm"], b["norm"])]:
        worst = max(worst, abs(x - y) / abs(x))
    print(f'step {a["step"]}: loss {a["loss"]:.6f} {b["loss"]:.6f}, norm {a["norm"]:.5f} {b["norm"]:.5f}')
print(f"two ranks differ from one by {worst:.1e}")
assert worst < 2e-4, worst
PYTHON
