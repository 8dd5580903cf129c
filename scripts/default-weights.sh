#!/usr/bin/env bash
# Trains the default model from nothing: the runs of configs/shapes/ in their order, each from where it was stopped. The result
# is runs/shapes/7-stage3/final-ema. DREAMLLM says which program to use, such as a copy that builds do not replace.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${DREAMLLM:-target/release/dreamllm}
if [ ! -d runs/shapes/0-untrained ]; then
    "$program" init configs/shapes/model -o runs/shapes/0-untrained
fi
for config in configs/shapes/[1-9]-*.toml; do
    run=runs/shapes/$(basename "$config" .toml)
    if [ ! -d "$run/final" ]; then
        "$program" train --config "$config" --resume
    fi
done
