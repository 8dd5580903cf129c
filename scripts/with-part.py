#!/usr/bin/env python3
"""Puts together a checkpoint from two that learned different parts side by side: that of the first folder, with the tensors whose names
begin with one of the given beginnings taken from the second. With --share they go only that share of the way from the first to the
second, as in Wortsman et al. 2022, Robust fine-tuning of zero-shot models; both have to be f32.

    with-part.py runs/shapes/15-imitation/final model.clip_vision_embedding.clip_vision_model. runs/shapes/16-image-encoder/final OUT
    with-part.py --share 0.3 runs/shapes/26-denoiser/final stable_diffusion_head.unet. runs/shapes/36-denoiser/final OUT"""
import sys
from checkpoint import Checkpoint


def main():
    arguments, share = sys.argv[1:], 1.0
    if arguments[:1] == ["--share"] and len(arguments) > 1:
        share, arguments = float(arguments[1]), arguments[2:]
    if len(arguments) < 4:
        sys.exit(__doc__)
    first, *beginnings, second, out = arguments
    ours, theirs = Checkpoint(first), Checkpoint(second)
    for beginning in beginnings:
        names = [name for name in ours.tensors if name.startswith(beginning)]
        if not names:
            sys.exit(f"no tensor's name begins with {beginning}")
        for name in names:
            if name not in theirs.tensors:
                sys.exit(f"{name} is not in {second}")
            here, there = ours.tensors[name][:2], theirs.tensors[name][:2]
            if here != there:
                sys.exit(f"{name}: {here} here, {there} there")
            if share == 1.0:
                ours.tensors[name] = theirs.tensors[name]
            else:
                pairs = zip(ours.values(name), theirs.values(name))
                ours.set(name, [a + share * (b - a) for a, b in pairs], ours.shape(name))
        print(f"{beginning}*: {len(names)} tensors of {second}")
    ours.write(out)


main()
