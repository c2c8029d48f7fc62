#!/usr/bin/env python3
"""Turns the published dVAE of DALL-E into a file that cae-dist reads.

    dalle-encoder.py encoder.pkl encoder.safetensors
    dalle-encoder.py dalle_encoder.pth encoder.h5
    dalle-encoder.py --random 256 8192 1 random.safetensors

Input: the pickled module that OpenAI publishes (encoder.pkl, decoder.pkl) or a plain state dict.
Output by its ending: safetensors, or HDF5 (.h5), which needs h5py. Needs PyTorch, not the package
dall_e: its classes are replaced by empty ones, and nothing else of the pickle is run.

--random makes an encoder of random weights, N(0, 1 / sqrt(inputs k^2)), biases 0, for benchmarks:
channels of the first convolution, vocabulary, seed.
"""

import argparse
import ctypes
import json
import os
import pickle
import re
import struct
import sys
import types

try:
    import torch
except ModuleNotFoundError:
    sys.exit("dalle-encoder.py needs PyTorch to read what is published: pip install torch")

KINDS = {"encoder": [3, 3, 3, 1], "decoder": [1, 3, 3, 3]}


class Refusal(Exception):
    """One sentence for the user."""


class Stub:
    """Stands for any module: keeps the attributes that were pickled."""

    dump_patches = False

    def __setstate__(self, state):
        self.__dict__.update(state)


# What the tensors of a pickled module are rebuilt with.
ALLOWED = {
    ("collections", "OrderedDict"),
    ("builtins", "set"),
    # As protocol 2 writes it.
    ("__builtin__", "set"),
    ("torch", "device"),
    ("torch", "Size"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
}


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module.split(".")[0] == "dall_e" or module.startswith("torch.nn.modules."):
            return Stub
        storage = re.fullmatch(r"torch(\.storage)?", module) and name.endswith("Storage")
        if storage or (module, name) in ALLOWED:
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise Refusal(f"it needs {module}.{name}, which is no part of a model")


def read(path, unpickler=Unpickler):
    """What was pickled, as far as the unpickler knows it."""
    reader = types.ModuleType("reader")
    reader.__dict__.update(vars(pickle))
    reader.Unpickler = unpickler
    reader.load = lambda file, **options: unpickler(file, **options).load()
    try:
        return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except Refusal:
        raise
    except Exception as error:
        raise Refusal(f"it cannot be read: {str(error).splitlines()[0]}") from None


def load(path):
    """Tensors by name."""
    content = read(path)
    if isinstance(content, Stub):
        tensors = {}
        collect(content, "", tensors)
        return tensors
    if isinstance(content, dict):
        content = content.get("state_dict", content)
        if isinstance(content, dict) and all(torch.is_tensor(t) for t in content.values()):
            return dict(content)
    raise Refusal("it holds neither a module nor a state dict")


def collect(module, prefix, tensors):
    for name, value in getattr(module, "_parameters", {}).items():
        if value is not None:
            tensors[prefix + name] = value.detach()
    for name, child in getattr(module, "_modules", {}).items():
        if child is not None:
            collect(child, f"{prefix}{name}.", tensors)


def shapes(kind, first, outputs, widths, blocks):
    """Names and shapes of a network: first convolution, outputs, widths of the groups."""
    result = {}

    def add(name, outputs, inputs, kernel):
        result[name + ".w"] = (outputs, inputs, kernel, kernel)
        result[name + ".b"] = (outputs,)

    add("blocks.input", *first)
    width = first[0]
    for group, out in enumerate(widths, 1):
        for block in range(1, blocks + 1):
            name = f"blocks.group_{group}.block_{block}"
            if width != out:
                add(name + ".id_path", out, width, 1)
            inputs = [width] + 3 * [out // 4]
            for index, kernel in enumerate(KINDS[kind]):
                outs = out if index == 3 else out // 4
                add(f"{name}.res_path.conv_{index + 1}", outs, inputs[index], kernel)
            width = out
    add("blocks.output.conv", outputs, width, 1)
    return result


def check(tensors):
    """The kind of network; refuses other names and shapes than that has."""

    def shape(name):
        if name not in tensors:
            raise Refusal(f"{name} is missing")
        if tensors[name].dim() == 0:
            raise Refusal(f"{name} is a single number")
        return tuple(tensors[name].shape)

    first = shape("blocks.input.w")
    if len(first) != 4 or first[2] != first[3] or first[2] not in (1, 7):
        raise Refusal(f"blocks.input.w is {list(first)}, which no dVAE of DALL-E has")
    kind = "encoder" if first[2] == 7 else "decoder"
    found = [re.match(r"blocks\.group_(\d+)\.block_(\d+)\.", name) for name in tensors]
    found = [(int(match[1]), int(match[2])) for match in found if match]
    groups = max((group for group, _ in found), default=0)
    blocks = max((block for _, block in found), default=0)
    if not 0 < groups <= 16 or not 0 < blocks <= 64:
        raise Refusal(f"it has {groups} groups of {blocks} blocks")
    widths = [
        shape(f"blocks.group_{group}.block_1.res_path.conv_4.w")[0]
        for group in range(1, groups + 1)
    ]
    outputs = shape("blocks.output.conv.w")[0]
    inputs = 3 if kind == "encoder" else first[1]
    expected = shapes(kind, (first[0], inputs, first[2]), outputs, widths, blocks)
    for name in sorted(set(tensors) | set(expected)):
        if name not in expected:
            raise Refusal(f"{name} is no part of a dVAE {kind}")
        if shape(name) != expected[name]:
            raise Refusal(f"{name} is {list(shape(name))}, not {list(expected[name])}")
    return kind


def random_encoder(width, vocabulary, seed):
    if width < 4 or width % 4 or vocabulary < 1:
        raise Refusal("--random needs a multiple of 4 channels and at least one token")
    generator = torch.Generator().manual_seed(seed)
    widths = [width, 2 * width, 4 * width, 8 * width]
    tensors = {}
    for name, shape in shapes("encoder", (width, 3, 7), vocabulary, widths, 2).items():
        tensor = torch.zeros(shape)
        if len(shape) == 4:
            tensor.normal_(0, (shape[1] * shape[2] * shape[3]) ** -0.5, generator=generator)
        tensors[name] = tensor
    return tensors


def write_safetensors(path, tensors, kind):
    if sys.byteorder != "little":
        raise Refusal("safetensors files are written on little-endian machines only")
    header, end = {"__metadata__": {"format": "pt", "kind": kind}}, 0
    for name, tensor in tensors.items():
        start, end = end, end + 4 * tensor.numel()
        header[name] = {
            "dtype": "F32",
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(ctypes.string_at(tensor.data_ptr(), 4 * tensor.numel()))


def write_hdf5(path, tensors, kind):
    try:
        import h5py
    except ImportError:
        raise Refusal("HDF5 needs h5py; install it or write .safetensors") from None
    with h5py.File(path, "w") as file:
        file.attrs["kind"] = kind
        for name, tensor in tensors.items():
            file[name] = tensor.numpy()


def convert(parser, output, source, make):
    """Writes the tensors that make() gives with their kind: a file that is complete or absent."""
    writers = {".safetensors": write_safetensors, ".h5": write_hdf5}
    write = writers.get(os.path.splitext(output)[1])
    if write is None:
        parser.error("the output should end in .safetensors or .h5")
    try:
        tensors, kind = make()
        tensors = {name: tensor.detach().float().contiguous() for name, tensor in tensors.items()}
        partial = output + ".partial"
        write(partial, tensors, kind)
        os.replace(partial, output)
    except Refusal as error:
        sys.exit(f"{parser.prog}: {source}: {error}")
    except OSError as error:
        sys.exit(f"{parser.prog}: {error}")
    count = sum(tensor.numel() for tensor in tensors.values())
    print(f"wrote {output}: {kind}, {len(tensors)} tensors, {count} parameters")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", nargs="?", help="encoder.pkl, decoder.pkl or a state dict")
    parser.add_argument("output", help="file ending in .safetensors or .h5")
    parser.add_argument(
        "--random", nargs=3, type=int, metavar=("CHANNELS", "VOCABULARY", "SEED")
    )
    options = parser.parse_args()
    if (options.input is None) == (options.random is None):
        parser.error("name an input file, or --random")

    def make():
        tensors = random_encoder(*options.random) if options.random else load(options.input)
        return tensors, "dalle-" + check(tensors)

    convert(parser, options.output, options.input or "--random", make)


if __name__ == "__main__":
    main()
