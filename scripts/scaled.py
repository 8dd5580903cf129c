#!/usr/bin/env python3
"""Copies a checkpoint with one of its tensors (f32) multiplied by a number.

    scaled.py runs/shapes/25-denoiser/final model.embed_tokens.weight 12 OUT"""
import sys
from checkpoint import Checkpoint


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    folder, name, factor, out = sys.argv[1:]
    checkpoint = Checkpoint(folder)
    if name not in checkpoint.tensors:
        sys.exit(f"no tensor is named {name}")
    checkpoint.set(name, [value * float(factor) for value in checkpoint.values(name)], checkpoint.shape(name))
    checkpoint.write(out)


main()
