#!/usr/bin/env python3
"""Turns a published CAE checkpoint (.pth) into a file that cae-dist import reads.

    cae-checkpoint.py cae_base_800ep.pth cae.safetensors
    cae-dist import cae.safetensors --output weights.h5

Output by its ending: safetensors, or HDF5 (.h5), which needs h5py. Needs PyTorch. Only tensors are
taken from the pickle, and no code of it is run: arguments and optimizer are left out, and so are
alignment_encoder.* and teacher.*, which are copies of the encoder.
"""

import argparse
import importlib.util
import pathlib
import sys

try:
    import torch
except ModuleNotFoundError:
    sys.exit("cae-checkpoint.py needs PyTorch to read what is published: pip install torch")

SCRIPT = pathlib.Path(__file__).resolve().parent / "dalle-encoder.py"
specification = importlib.util.spec_from_file_location("dalle_encoder", SCRIPT)
pickles = importlib.util.module_from_spec(specification)
specification.loader.exec_module(pickles)
Refusal = pickles.Refusal

COPIES = ("alignment_encoder.", "teacher.")


class Ignored:
    """Stands for what is not needed: takes everything, does nothing."""

    def __init__(self, *arguments, **options):
        pass

    def __setstate__(self, state):
        pass


# What published checkpoints hold beside tensors.
IGNORED = {
    ("argparse", "Namespace"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("pathlib", "PosixPath"),
}


class Unpickler(pickles.Unpickler):
    def find_class(self, module, name):
        return Ignored if (module, name) in IGNORED else super().find_class(module, name)


def load(path):
    content = pickles.read(path, Unpickler)
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise Refusal("it holds no state dict")
    tensors = {}
    for name, tensor in content.items():
        if not torch.is_tensor(tensor):
            raise Refusal(f"{name} is no tensor")
        name = name.removeprefix("module.")
        if not name.startswith(COPIES):
            tensors[name] = tensor.detach().float().contiguous()
    if "encoder.cls_token" not in tensors:
        raise Refusal("it has no encoder.cls_token, and is no checkpoint of CAE")
    return tensors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", help="published checkpoint (.pth)")
    parser.add_argument("output", help="file ending in .safetensors or .h5")
    options = parser.parse_args()
    pickles.convert(
        parser, options.output, options.input, lambda: (load(options.input), "cae")
    )


if __name__ == "__main__":
    main()
