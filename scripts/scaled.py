#!/usr/bin/env python3
"""Copies a checkpoint with one of its tensors (f32) multiplied by a number.

    scaled.py runs/shapes/25-denoiser/final model.embed_tokens.weight 12 OUT"""
import array, json, pathlib, shutil, struct, sys


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    folder, wanted, factor, out = sys.argv[1:]
    if pathlib.Path(out).exists():
        sys.exit(f"{out} exists already")
    shutil.copytree(folder, out)
    for path in pathlib.Path(out).glob("model*.safetensors"):
        with open(path, "r+b") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            tensor = json.loads(file.read(size)).get(wanted)
            if tensor is None:
                continue
            if tensor["dtype"] != "F32":
                sys.exit(f"{wanted} is {tensor['dtype']}, not F32")
            begin, end = (8 + size + offset for offset in tensor["data_offsets"])
            file.seek(begin)
            values = array.array("f", file.read(end - begin))
            file.seek(begin)
            file.write(array.array("f", (value * float(factor) for value in values)).tobytes())
            return
    shutil.rmtree(out)
    sys.exit(f"no tensor is named {wanted}")


main()
