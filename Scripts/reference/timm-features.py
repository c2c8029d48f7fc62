#!/usr/bin/env python3
"""Features that timm computes from an exported encoder, for ExportComparisonTests.

    cae-dist export CHECKPOINT --format timm-safetensors --output vit.safetensors
    timm-features.py vit.safetensors features.h5
    CAE_TIMM_GOLDEN=features.h5 swift test ... --filter ExportComparisonTests

Runs the file's own line of Python and writes images, features (all tokens after the final norm) and
the path of the weights. Needs timm, h5py and safetensors.
"""

import argparse
import os

import h5py
import safetensors
import safetensors.torch
import timm
import torch

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("weights", help="timm-safetensors file of cae-dist export")
parser.add_argument("output", help="HDF5 file to write")
options = parser.parse_args()
path = os.path.abspath(options.weights)
with safetensors.safe_open(path, "pt") as file:
    metadata = file.metadata()
line = metadata["python"].split("; ")
model = eval(line[0].removeprefix("model = "), {"timm": timm})
model.load_state_dict(safetensors.torch.load_file(path))
model.eval()
torch.manual_seed(0)
size, channels = int(metadata["imageSize"]), int(metadata["channels"])
images = torch.randn(2, channels, size, size)
with torch.no_grad():
    features = model.forward_features(images)
with h5py.File(options.output, "w") as file:
    file["images"] = images.numpy()
    file["features"] = features.numpy()
    file.attrs["weights"] = path
print(f"timm {timm.__version__}: {metadata['python']}")
print(f"features {list(features.shape)}, largest {features.abs().max():.3f}")
