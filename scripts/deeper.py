#!/usr/bin/env python3
"""Copies a checkpoint (f32) with one more ResNet and one more transformer in every block of its UNet (`layers_per_block`). What it draws
stays the same until it is trained: every new ResNet adds what its second convolution gives, which is 0, and every new transformer
what its last projection gives, which is 0 too (as in Goyal et al. 2017, section 5.1, and Zhang et al. 2019, Fixup).

    deeper.py runs/shapes/40-stage3/final OUT

In a block on the way down the new ones are the last, so that the skip connection they add is the one before it. On the way up they are
the second: the first ResNet then takes that new skip connection, and the new one the skip connection that the first took."""
import json, math, pathlib, random, re, sys
from checkpoint import Checkpoint

UNET = "stable_diffusion_head.unet."


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, out = sys.argv[1:]
    checkpoint, dice = Checkpoint(folder), random.Random(0)
    path = pathlib.Path("image-generator/unet/config.json")
    config = json.loads((pathlib.Path(folder) / path).read_text())
    layers, channels = config["layers_per_block"], config["block_out_channels"]
    if not isinstance(layers, int):
        sys.exit("layers_per_block is a list; only a number is supported")
    for block, width in enumerate(channels):
        grow(checkpoint, dice, f"{UNET}down_blocks.{block}.", at=layers, width=width, inputs=width)
    for block, width in enumerate(reversed(channels)):
        prefix = f"{UNET}up_blocks.{block}."
        for layer in range(layers, 0, -1):
            move(checkpoint, prefix, layer)
        grow(checkpoint, dice, prefix, at=1, width=width, inputs=2 * width)
    checkpoint.write(out)
    config["layers_per_block"] = layers + 1
    (pathlib.Path(out) / path).write_text(json.dumps(config, indent=2) + "\n")
    manifest = pathlib.Path(out) / "dreamllm.json"
    if manifest.is_file():
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"tensors": len(checkpoint.tensors)}, indent=2))
    print(f"{out}: {len(checkpoint.tensors)} tensors")


def of(checkpoint, prefix, part, layer):
    return [name for name in checkpoint.tensors if name.startswith(f"{prefix}{part}.{layer}.")]


def move(checkpoint, prefix, layer):
    """The layer `layer` of a block becomes the next one."""
    for part in ["resnets", "attentions"]:
        for name in of(checkpoint, prefix, part, layer):
            new = name.replace(f"{part}.{layer}.", f"{part}.{layer + 1}.", 1)
            checkpoint.tensors[new], checkpoint.files[new] = checkpoint.tensors.pop(name), checkpoint.files.pop(name)


def grow(checkpoint, dice, prefix, at, width, inputs):
    """A new layer `at` of a block, like its first one but for what has to be 0 and what depends on the number of inputs."""
    for part in ["resnets", "attentions"]:
        for name in of(checkpoint, prefix, part, 0):
            new = name.replace(f"{part}.0.", f"{part}.{at}.", 1)
            shape, values = list(checkpoint.shape(name)), checkpoint.values(name)
            last = re.search(r"\.([a-z0-9_]+)\.(weight|bias)$", name)
            layer, kind = last.group(1), last.group(2)
            if part == "resnets":
                if layer == "conv_shortcut":
                    continue
                if layer == "norm1" and shape != [inputs]:
                    shape, values = [inputs], [1.0 if kind == "weight" else 0.0] * inputs
                if layer == "conv1" and kind == "weight" and shape[1] != inputs:
                    shape = [width, inputs, 3, 3]
                    bound = 1 / math.sqrt(9 * inputs)
                    values = [dice.uniform(-bound, bound) for _ in range(math.prod(shape))]
            if layer == ("conv2" if part == "resnets" else "proj_out"):
                values = [0.0] * len(values)
            checkpoint.set(new, values, shape)
    if inputs != width:
        shortcut = f"{prefix}resnets.{at}.conv_shortcut."
        same = [float(i == o) for o in range(width) for i in range(inputs)]
        checkpoint.set(shortcut + "weight", same, [width, inputs, 1, 1])
        checkpoint.set(shortcut + "bias", [0.0] * width, [width])


main()
