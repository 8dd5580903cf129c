#!/usr/bin/env python3
"""Puts together a checkpoint from two that learned different parts side by side: that of the first folder, with the tensors whose names
begin with one of the given beginnings taken from the second. With --share they go only that share of the way from the first to the
second, as in Wortsman et al. 2022, Robust fine-tuning of zero-shot models; both have to be f32.

    with-part.py runs/shapes/15-imitation/final model.clip_vision_embedding.clip_vision_model. runs/shapes/16-image-encoder/final OUT
    with-part.py --share 0.3 runs/shapes/26-denoiser/final stable_diffusion_head.unet. runs/shapes/36-denoiser/final OUT"""
import array, json, pathlib, shutil, struct, sys


def header(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def between(here, there, share):
    here, there = array.array("f", here), array.array("f", there)
    return array.array("f", [a + share * (b - a) for a, b in zip(here, there)]).tobytes()


def main():
    arguments, share = sys.argv[1:], 1.0
    if arguments[:1] == ["--share"] and len(arguments) > 1:
        share, arguments = float(arguments[1]), arguments[2:]
    if len(arguments) < 4:
        sys.exit(__doc__)
    first, *beginnings, second, out = arguments
    if pathlib.Path(out).exists():
        sys.exit(f"{out} exists already")
    theirs = {}
    for path in pathlib.Path(second).glob("model*.safetensors"):
        tensors, start = header(path)
        theirs |= {name: (path, start, tensor) for name, tensor in tensors.items() if name != "__metadata__"}
    shutil.copytree(first, out)
    taken = {beginning: 0 for beginning in beginnings}
    for path in pathlib.Path(out).glob("model*.safetensors"):
        tensors, start = header(path)
        with open(path, "r+b") as file:
            for name, tensor in tensors.items():
                beginning = next((b for b in beginnings if name.startswith(b)), None)
                if beginning is None:
                    continue
                source, source_start, other = theirs[name]
                if (tensor["dtype"], tensor["shape"]) != (other["dtype"], other["shape"]):
                    sys.exit(f"{name}: {tensor['dtype']} {tensor['shape']} here, {other['dtype']} {other['shape']} there")
                if share != 1.0 and tensor["dtype"] != "F32":
                    sys.exit(f"{name}: is {tensor['dtype']}; between two checkpoints there is only F32")
                begin, end = other["data_offsets"]
                with open(source, "rb") as origin:
                    origin.seek(source_start + begin)
                    data = origin.read(end - begin)
                at = start + tensor["data_offsets"][0]
                if share != 1.0:
                    file.seek(at)
                    data = between(file.read(len(data)), data, share)
                file.seek(at)
                file.write(data)
                taken[beginning] += 1
    for beginning, count in taken.items():
        if count == 0:
            sys.exit(f"no tensor's name begins with {beginning}")
        print(f"{beginning}*: {count} tensors of {second}")


main()
