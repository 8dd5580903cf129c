#!/usr/bin/env bash
# Trains the default model from nothing: the runs of configs/shapes/ in their order, each from where it was stopped. The result
# is written to runs/shapes/weights, in f16, as weights/ has it. DREAMLLM says which program to use, such as a copy that builds do not
# replace. Needs python3. The runs took thirty-three hours in all, on two cores that they shared with others; one after the other on quiet
# cores was not tried.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${DREAMLLM:-target/release/dreamllm}
if [ ! -d runs/shapes/0-untrained ]; then
    "$program" init configs/shapes/model -o runs/shapes/0-untrained
fi
# Folders that runs begin with and no run has left; docs/training.md says why. UNets are averaged: with_unet FOLDER SHARE OTHER OUT goes
# that share of the way from the UNet of FOLDER to that of OTHER.
with_unet() {
    [ -d "runs/shapes/$4" ] ||
        scripts/with-part.py --share "$2" "runs/shapes/$1" stable_diffusion_head.unet. "runs/shapes/$3" "runs/shapes/$4"
}
prepare() {
    case $1 in
    41-denoiser) with_unet 40-stage3/final 0.7 26-denoiser/final 40-and-26 ;;   # three tenths of the way from run 26 to run 36
    42-denoiser)
        with_unet 40-and-26 0.5 41-denoiser/final 41-halfway
        [ -d runs/shapes/41-deeper ] || scripts/deeper.py runs/shapes/41-halfway runs/shapes/41-deeper
        ;;
    45-stage2)
        with_unet 42-denoiser/final 0.5 43-denoiser/final 42-and-43
        with_unet 44-imitation/final 1 42-and-43 44-and-43
        ;;
    49-imitation) with_unet 47-denoiser/final 0.5 48-denoiser/final 47-and-48 ;;
    esac
}
for config in configs/shapes/[0-9][0-9]-*.toml; do
    name=$(basename "$config" .toml)
    if [ ! -d "runs/shapes/$name" ]; then
        prepare "$name"
    fi
    if [ ! -d "runs/shapes/$name/final" ]; then
        "$program" train --config "$config" --resume
    fi
done
# The UNet of the weights is the average of those of runs 53 and 54; all else is that of run 57.
if [ ! -d runs/shapes/weights ]; then
    with_unet 53-denoiser/final 0.5 54-denoiser/final 53-and-54
    with_unet 57-stage3/final 1 53-and-54 57-and-54
    "$program" convert runs/shapes/57-and-54 runs/shapes/weights --weights f16
    cp runs/shapes/02-denoiser/final/scene_encoder.safetensors configs/shapes/model/drawing_config.json runs/shapes/weights/
fi
"$program" eval -m runs/shapes/weights --count 100 --out runs/shapes/eval.json
scripts/training-manifest.py runs/shapes > runs/shapes/training.json
