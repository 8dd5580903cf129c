#!/usr/bin/env bash
# Trains the default model from nothing: the runs of configs/shapes/ in their order, each from where it was stopped. The result
# is written to runs/shapes/weights, in f16, as weights/ has it. DREAMLLM says which program to use, such as a copy that builds do not
# replace. On two cores this takes about twenty-two hours.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${DREAMLLM:-target/release/dreamllm}
if [ ! -d runs/shapes/0-untrained ]; then
    "$program" init configs/shapes/model -o runs/shapes/0-untrained
fi
for config in configs/shapes/[0-9][0-9]-*.toml; do
    run=runs/shapes/$(basename "$config" .toml)
    # Run 41 begins with a UNet three tenths of the way from that of run 26 to that of run 36: weights/README.md says why.
    if [ "$run" = runs/shapes/41-denoiser ] && [ ! -d runs/shapes/40-and-26 ]; then
        scripts/with-part.py --share 0.7 runs/shapes/40-stage3/final stable_diffusion_head.unet. runs/shapes/26-denoiser/final runs/shapes/40-and-26
    fi
    if [ ! -d "$run/final" ]; then
        "$program" train --config "$config" --resume
    fi
done
# The UNet of the weights is halfway from the one that run 41 began with to its own.
if [ ! -d runs/shapes/between ]; then
    scripts/with-part.py --share 0.5 runs/shapes/40-and-26 stable_diffusion_head.unet. "$run/final" runs/shapes/between
fi
if [ ! -d runs/shapes/weights ]; then
    "$program" convert runs/shapes/between runs/shapes/weights --weights f16
    cp runs/shapes/02-denoiser/final/scene_encoder.safetensors configs/shapes/model/drawing_config.json runs/shapes/weights/
fi
"$program" eval -m runs/shapes/weights --count 100 --out runs/shapes/eval.json
scripts/training-manifest.py runs/shapes > runs/shapes/training.json
