#!/usr/bin/env python3
"""Takes the visual tower out of a published CLIP archive, as a teacher for CAE v2.

    clip-visual.py ViT-B-16.pt clip.safetensors
    clip-visual.py --random 768 12 16 512 224 1 random.safetensors

Input: OpenAI's TorchScript archive, or a state dict. Output by its ending: safetensors, or HDF5 (.h5), which
needs h5py. Needs PyTorch. Of a TorchScript archive the tensors are read, and no method is run.

--random makes a tower of random weights, for benchmarks: width, layers, patch size, values of a feature,
image size, seed.
"""

import argparse
import importlib.util
import pathlib
import sys

try:
    import torch
except ModuleNotFoundError:
    sys.exit("clip-visual.py needs PyTorch to read what is published: pip install torch")

SCRIPT = pathlib.Path(__file__).resolve().parent / "dalle-encoder.py"
specification = importlib.util.spec_from_file_location("dalle_encoder", SCRIPT)
files = importlib.util.module_from_spec(specification)
specification.loader.exec_module(files)
Refusal = files.Refusal

PREFIX = "visual."


def load(path):
    try:
        content = torch.jit.load(path, map_location="cpu").state_dict()
    except (RuntimeError, ValueError):
        content = files.read(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise Refusal("it holds no state dict")
    tensors = {
        name.removeprefix(PREFIX): tensor.detach().float().contiguous()
        for name, tensor in content.items()
        if name.startswith(PREFIX) and torch.is_tensor(tensor)
    }
    if "class_embedding" not in tensors:
        raise Refusal("it has no visual.class_embedding, and is no CLIP with a vision transformer")
    return tensors


def random(width, layers, patch, features, size, seed):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator) * shape[-1] ** -0.5

    tokens = (size // patch) ** 2 + 1
    tensors = {
        "class_embedding": normal(width),
        "positional_embedding": normal(tokens, width),
        "proj": normal(width, features),
        "conv1.weight": torch.randn((width, 3, patch, patch), generator=generator) * 0.02,
    }

    def norm(name):
        tensors[name + ".weight"] = torch.ones(width)
        tensors[name + ".bias"] = torch.zeros(width)

    norm("ln_pre")
    norm("ln_post")
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}."
        norm(block + "ln_1")
        norm(block + "ln_2")
        for name, outputs, inputs in [
            ("attn.out_proj", width, width),
            ("mlp.c_fc", 4 * width, width),
            ("mlp.c_proj", width, 4 * width),
        ]:
            tensors[f"{block}{name}.weight"] = normal(outputs, inputs)
            tensors[f"{block}{name}.bias"] = torch.zeros(outputs)
        tensors[block + "attn.in_proj_weight"] = normal(3 * width, width)
        tensors[block + "attn.in_proj_bias"] = torch.zeros(3 * width)
    return tensors


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", nargs="?", help="published archive (.pt)")
    parser.add_argument("output", help="file ending in .safetensors or .h5")
    parser.add_argument("--random", nargs=6, type=int, metavar="N", help="see above")
    options = parser.parse_args()
    if (options.input is None) == (options.random is None):
        parser.error("give an archive, or --random")

    def make():
        tensors = random(*options.random) if options.random else load(options.input)
        return tensors, "clip-visual"

    files.convert(parser, options.output, options.input or "--random", make)


if __name__ == "__main__":
    main()
