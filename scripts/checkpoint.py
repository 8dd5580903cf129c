"""The tensors of a checkpoint's folder in the project's own format, for the scripts beside this file."""
import array, json, pathlib, shutil, struct, sys


class Checkpoint:
    """A copy of a folder whose tensors can be changed: `tensors[name] = (dtype, shape, bytes)`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.tensors, self.files = {}, {}
        for path in sorted(self.folder.glob("model*.safetensors")):
            data = path.read_bytes()
            (size,) = struct.unpack("<Q", data[:8])
            for name, tensor in json.loads(data[8 : 8 + size]).items():
                if name != "__metadata__":
                    begin, end = (8 + size + offset for offset in tensor["data_offsets"])
                    self.tensors[name] = (tensor["dtype"], tensor["shape"], data[begin:end])
                    self.files[name] = path.name
        if not self.tensors:
            sys.exit(f"{folder} has no tensors in model*.safetensors")

    def shape(self, name):
        return self.tensors[name][1]

    def values(self, name):
        """The numbers of an f32 tensor."""
        dtype, _, data = self.tensors[name]
        if dtype != "F32":
            sys.exit(f"{name} is {dtype}, not F32")
        return array.array("f", data)

    def set(self, name, values, shape):
        self.tensors[name] = ("F32", list(shape), array.array("f", values).tobytes())

    def write(self, out):
        """A new folder; what is no tensor is copied. New tensors go into the first file."""
        out = pathlib.Path(out)
        if out.exists():
            sys.exit(f"{out} exists already")
        shutil.copytree(self.folder, out)
        first = min(self.files.values())
        for file in set(self.files.values()):
            names = sorted(name for name in self.tensors if self.files.get(name, first) == file)
            header, at = {"__metadata__": {"format": "pt"}}, 0
            for name in names:
                dtype, shape, data = self.tensors[name]
                header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
                at += len(data)
            text = json.dumps(header).encode()
            text += b" " * (-len(text) % 8)
            with open(out / file, "wb") as stream:
                stream.write(struct.pack("<Q", len(text)) + text)
                stream.writelines(self.tensors[name][2] for name in names)
        index = out / "model.safetensors.index.json"
        if index.is_file():
            sizes = sum(len(data) for _, _, data in self.tensors.values())
            files = {name: self.files.get(name, first) for name in sorted(self.tensors)}
            index.write_text(json.dumps({"metadata": {"total_size": sizes}, "weight_map": files}, indent=2))
