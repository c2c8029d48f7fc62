"""What Scripts/test-docs runs the commands of the guides with: real pictures, few and small."""

import gzip
import json
import pathlib
import random
import shutil
import struct
import subprocess
import tarfile
import zlib

SOURCE = pathlib.Path("/usr/share/datasets/fashion-mnist")
CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat"]
CLASSES += ["sandal", "shirt", "sneaker", "bag", "boot"]
SIDE = 28
# 937 steps of 16 images, the number of steps of the real quickstart.
QUICKSTART_IMAGES = {"train": ("train", 14999), "test": ("t10k", 512)}
RUN = """\
run: { output: runs/run }
method: { name: cae, tokenizer: tokenizer.h5 }
data: { train: [shards/train], validation: [shards/val] }
"""
# What every document begins with, and what it may ask for by <!-- starts with: NAME ... -->.
ALWAYS = ["Cluster", "Configs", "Scripts", "Tests", "docs", "photos", "photos-val"]
OPTIONAL = ["runs/quickstart", "shards", "tokenizer.h5", "run.yaml", "hosts", "imagenet"]
OPTIONAL += ["encoder.safetensors", "clip.safetensors"]


def pictures(split, count):
    """Bytes of the first pictures of Fashion-MNIST, and their labels."""
    images = gzip.open(SOURCE / f"{split}-images-idx3-ubyte.gz").read()
    labels = gzip.open(SOURCE / f"{split}-labels-idx1-ubyte.gz").read()
    size = SIDE * SIDE
    return [(images[16 + i * size : 16 + (i + 1) * size], labels[8 + i]) for i in range(count)]


def png(gray):
    """A colour PNG of twice the size."""
    rows = b""
    for y in range(2 * SIDE):
        line = gray[y // 2 * SIDE : (y // 2 + 1) * SIDE]
        rows += b"\0" + bytes(value for value in line for _ in range(6))

    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 2 * SIDE, 2 * SIDE, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def write_photos(folder, split, count):
    for number, (gray, label) in enumerate(pictures(split, count)):
        path = folder / CLASSES[label] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(gray))


def write_idx(folder, split, count):
    """IDX files of the first pictures; their paths."""
    found = pictures(split, count)
    images, labels = folder / f"{split}-images", folder / f"{split}-labels"
    data = b"".join(gray for gray, _ in found)
    images.write_bytes(struct.pack(">IIII", 0x803, count, SIDE, SIDE) + data)
    labels.write_bytes(struct.pack(">II", 0x801, count) + bytes(label for _, label in found))
    return images, labels


def write_archives(folder, photos, photos_val):
    """ImageNet's form: an archive of an archive a class, and one of pictures alone."""
    folder.mkdir()
    with tarfile.open(folder / "ILSVRC2012_img_train.tar", "w") as whole:
        for kind in sorted(photos.iterdir()):
            inner = folder / f"{kind.name}.tar"
            with tarfile.open(inner, "w") as archive:
                for path in sorted(kind.iterdir()):
                    archive.add(path, f"{kind.name}_{path.name}")
            whole.add(inner, inner.name)
            inner.unlink()
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as archive:
        for path in sorted(photos_val.rglob("*.png")):
            archive.add(path, path.name)
    shutil.copytree(photos_val, folder / "val")


def write_safetensors(path, shapes):
    """Tensors of random numbers."""
    draw, header, data = random.Random(0), {}, b""
    for name, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        values = [draw.gauss(0, 0.05) for _ in range(count)]
        begin = len(data)
        data += struct.pack(f"<{count}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def dalle_encoder(width=4, vocabulary=64):
    """Shapes of a DALL-E encoder that is narrower than the published one."""
    shapes = {}

    def add(name, outputs, inputs, kernel):
        shapes[name + ".w"] = [outputs, inputs, kernel, kernel]
        shapes[name + ".b"] = [outputs]

    add("blocks.input", width, 3, 7)
    inputs = width
    for group in range(4):
        outputs = width << group
        for block in (1, 2):
            name = f"blocks.group_{group + 1}.block_{block}"
            if inputs != outputs:
                add(name + ".id_path", outputs, inputs, 1)
            add(name + ".res_path.conv_1", outputs // 4, inputs, 3)
            add(name + ".res_path.conv_2", outputs // 4, outputs // 4, 3)
            add(name + ".res_path.conv_3", outputs // 4, outputs // 4, 3)
            add(name + ".res_path.conv_4", outputs, outputs // 4, 1)
            inputs = outputs
    add("blocks.output.conv", vocabulary, inputs, 1)
    return shapes


def clip_tower(width=64, features=32, patch=16, side=14):
    """Shapes of CLIP's visual tower with one block."""
    shapes = {"conv1.weight": [width, 3, patch, patch], "class_embedding": [width]}
    shapes["positional_embedding"] = [side * side + 1, width]
    block = "transformer.resblocks.0."
    for norm in ("ln_pre", "ln_post", block + "ln_1", block + "ln_2"):
        shapes[norm + ".weight"] = shapes[norm + ".bias"] = [width]
    for name, outputs, inputs in (
        ("attn.in_proj_", 3 * width, width),
        ("attn.out_proj.", width, width),
        ("mlp.c_fc.", 4 * width, width),
        ("mlp.c_proj.", width, 4 * width),
    ):
        shapes[f"{block}{name}weight"] = [outputs, inputs]
        shapes[f"{block}{name}bias"] = [outputs]
    shapes["proj"] = [width, features]
    return shapes


class Scene:
    """A folder with all that documents may begin with, and copies of what each one wants."""

    def __init__(self, root, folder, environment):
        self.root, self.folder, self.environment = root, folder / "scene", environment
        self.folder.mkdir()
        for name in ("Cluster", "Configs", "Scripts", "Tests", "docs"):
            (self.folder / name).symlink_to(root / name)
        self.home = pathlib.Path(environment["HOME"])
        self.home.mkdir()

    def run(self, *command):
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}")

    def make_quickstart(self):
        data = self.home / ".local" / "share" / "cae-dist" / "fashion-mnist"
        for name, (split, count) in QUICKSTART_IMAGES.items():
            images, labels = write_idx(self.folder, split, count)
            self.run(
                "cae-dist", "data", "pack", "--images", images, "--labels", labels, "--classes",
                ",".join(CLASSES), "--name", name, "--output", data / name,
            )
        self.run("cae-dist", "tokenizer", "fit", "--vocabulary", "64")
        self.run("Cluster/launch", "-n", "8", "cae-dist")

    def make(self):
        photos, photos_val = self.folder / "photos", self.folder / "photos-val"
        write_photos(photos, "train", 160)
        write_photos(photos_val, "t10k", 48)
        write_archives(self.folder / "imagenet", photos, photos_val)
        write_safetensors(self.folder / "encoder.safetensors", dalle_encoder())
        write_safetensors(self.folder / "clip.safetensors", clip_tower())
        (self.folder / "run.yaml").write_text(RUN)
        (self.folder / "hosts").write_text("localhost slots=8\n")
        self.make_quickstart()
        for name, source in (("train", photos), ("val", photos_val)):
            self.run("cae-dist", "data", "pack", "--folder", source, "--output", f"shards/{name}")
        self.run("cae-dist", "tokenizer", "fit", "--config", "run.yaml")

    def copy(self, folder, optional):
        """A copy for one document."""
        unknown = [name for name in optional if name not in OPTIONAL]
        if unknown:
            raise RuntimeError(f"{unknown[0]} is not one of {', '.join(OPTIONAL)}")
        for name in ALWAYS + optional:
            source, target = self.folder / name, folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink() or source.is_file():
                shutil.copy2(source, target, follow_symlinks=False)
            else:
                shutil.copytree(source, target)
