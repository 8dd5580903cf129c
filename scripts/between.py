#!/usr/bin/env python3
"""Writes a checkpoint that lies between two: that of the first folder, whose f32 tensors with names that begin with one beginning go a
share of the way to those of the second (Wortsman et al. 2022, Robust fine-tuning of zero-shot models).

    between.py runs/shapes/26-denoiser/final stable_diffusion_head.unet. runs/shapes/36-denoiser/final 0.5 OUT"""
import array, json, pathlib, shutil, struct, sys


def tensors(path):
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    for name, tensor in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + at for at in tensor["data_offsets"])
            yield name, tensor, begin, data[begin:end]


def main():
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    first, beginning, second, share, out = sys.argv[1:]
    share = float(share)
    if pathlib.Path(out).exists():
        sys.exit(f"{out} exists already")
    theirs = {}
    for path in pathlib.Path(second).glob("model*.safetensors"):
        theirs |= {name: (tensor, data) for name, tensor, _, data in tensors(path) if name.startswith(beginning)}
    shutil.copytree(first, out)
    moved = 0
    for path in pathlib.Path(out).glob("model*.safetensors"):
        with open(path, "r+b") as file:
            for name, tensor, begin, data in list(tensors(path)):
                if not name.startswith(beginning):
                    continue
                other, other_data = theirs[name]
                if (tensor["dtype"], tensor["shape"]) != ("F32", other["shape"]) or other["dtype"] != "F32":
                    sys.exit(f"{name}: {tensor['dtype']} {tensor['shape']} here, {other['dtype']} {other['shape']} there; both have to be F32")
                here, there = array.array("f", data), array.array("f", other_data)
                file.seek(begin)
                file.write(array.array("f", [a + share * (b - a) for a, b in zip(here, there)]).tobytes())
                moved += 1
    if moved == 0:
        sys.exit(f"no tensor's name begins with {beginning}")
    print(f"{beginning}*: {moved} tensors, {share:g} of the way to {second}")


main()
