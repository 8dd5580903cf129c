#!/usr/bin/env python3
"""Puts together a checkpoint from two that learned different parts side by side: that of the first folder, with the tensors whose names
begin with one of the given beginnings taken from the second.

    with-part.py runs/shapes/15-imitation/final model.clip_vision_embedding.clip_vision_model. runs/shapes/16-image-encoder/final OUT"""
import json, pathlib, shutil, struct, sys


def header(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    first, *beginnings, second, out = sys.argv[1:]
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
                begin, end = other["data_offsets"]
                with open(source, "rb") as origin:
                    origin.seek(source_start + begin)
                    file.seek(start + tensor["data_offsets"][0])
                    file.write(origin.read(end - begin))
                taken[beginning] += 1
    for beginning, count in taken.items():
        if count == 0:
            sys.exit(f"no tensor's name begins with {beginning}")
        print(f"{beginning}*: {count} tensors of {second}")


main()
