"""How Scripts/chaos runs the program: its data, starts under MPI, what an output folder holds."""

import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "Cluster/launch"
HOSTS = ROOT / "Cluster/emulated-hosts"
SECONDS = 90  # of one start; it is hung after that
LINGER = 15  # seconds that ranks have to end after their job
POLL = 0.01

STEPS, EVERY, KEPT = 40, 4, 2
# 0.26 million parameters: a checkpoint of 3 MB, each of 8 parts with several blocks of checksums.
# 8 micro-batches make 1, 2, 4 and 8 ranks compute the same bits.
CONFIGURATION = f"""\
run: {{ seed: 7, output: run }}
model: {{ imageSize: 16, patchSize: 4, channels: 1, embedDim: 96, depth: 2, numHeads: 2,
  dropPathRate: 0.1 }}
method: {{ name: cae, numMaskedPatches: 8, minimumMaskBlock: 2, decoderDim: 32, decoderHeads: 2,
  regressorDepth: 1, decoderDepth: 1, tokenizer: FOLDER/tokenizer.h5 }}
data: {{ train: [FOLDER/shards], cropScale: [0.5, 1], mean: [0.5], standardDeviation: [0.25] }}
optimizer: {{ learningRate: 3.0e-3 }}
schedule: {{ epochs: 2.5, warmupEpochs: 0.25 }}
parallelism: {{ globalBatchSize: 32, microBatchSize: 4, threadsPerRank: 1, deterministic: true,
  stallTimeoutSeconds: 20, compareEverySteps: {EVERY} }}
checkpoint: {{ everySteps: {EVERY}, keepLast: {KEPT} }}
logging: {{ everySteps: 10, validateEverySteps: 0 }}
"""


def make_inputs(program, folder):
    """512 noisy slopes of 16 x 16 pixels as shards, a tokenizer, the configuration."""
    rng, count, size = random.Random(1), 512, 16
    pixels = bytearray(struct.pack(">IIII", 0x803, count, size, size))
    for _ in range(count):
        across, down, level = rng.uniform(-12, 12), rng.uniform(-12, 12), rng.uniform(60, 190)
        for place in range(size * size):
            y, x = divmod(place, size)
            value = level + across * (x - 8) + down * (y - 8) + rng.gauss(0, 12)
            pixels.append(int(min(255, max(0, value))))
    images, configuration = folder / "images-idx3-ubyte", folder / "run.yaml"
    images.write_bytes(pixels)
    labels = folder / "labels-idx1-ubyte"
    labels.write_bytes(struct.pack(">II", 0x801, count) + bytes(n % 10 for n in range(count)))
    configuration.write_text(CONFIGURATION.replace("FOLDER", str(folder)))
    for arguments in [
        ["data", "pack", "--images", images, "--labels", labels, "--output", folder / "shards"],
        ["tokenizer", "fit", "--config", configuration, "--vocabulary", "64", "--iterations", "20"],
    ]:
        subprocess.run(
            [program, *map(str, arguments)], check=True, timeout=120, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    return configuration


class Job:
    """One start of the program on some ranks; it is known by the output that it names."""

    def __init__(self, setting, ranks, output, log, arguments=(), on_hosts=False,
                 environment={}):
        self.program, self.output, self.log = setting.program, str(output), log
        launcher = [HOSTS, "run", "--ranks-per-host", "2", "--"] if on_hosts else [LAUNCH]
        session = setting.folder / "session"
        session.mkdir(exist_ok=True)
        local = [] if on_hosts else ["--mca", "orte_tmpdir_base", session]
        command = [*launcher, "-n", ranks, *local, setting.program, "pretrain",
                   "--config", setting.configuration, "--output", output, *arguments]
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log.open("wb"),
            stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **environment})
        setting.jobs.append(self)

    def members(self):
        """(id, arguments) of what is left of the job."""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                text = pathlib.Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            words = text.decode(errors="replace").split("\0")
            if self.output in words:
                yield int(entry), words

    def rank_processes(self):
        """Ids of the ranks that run, by rank."""
        found = {}
        for process, words in self.members():
            if words[0] != self.program:
                continue
            try:
                environment = pathlib.Path("/proc", str(process), "environ").read_bytes()
            except OSError:
                continue
            match = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", environment)
            if match:
                found[int(match[1])] = process
        return found

    def mpirun(self):
        names = ("mpirun", "orterun")
        return next((p for p, words in self.members() if os.path.basename(words[0]) in names), None)

    @property
    def has_ended(self):
        return self.process.poll() is not None

    @property
    def text(self):
        return self.log.read_text(errors="replace")

    def wait(self, seconds=SECONDS):
        """The exit code, negative for a signal; None if it hangs, and then it is killed."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        for process, _ in list(self.members()):
            send(process, signal.SIGKILL)
        if not self.has_ended:
            send(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end_ranks(self):
        """Waits for ranks that outlive their job, kills the last of them.

        Returns how many had to be killed."""
        deadline = time.monotonic() + LINGER
        while left := self.rank_processes():
            if time.monotonic() > deadline:
                for process in left.values():
                    send(process, signal.SIGKILL)
                time.sleep(0.2)
                return len(left)
            time.sleep(POLL)
        return 0


def send(process, number):
    """Whether there was such a process."""
    try:
        os.kill(process, number)
        return True
    except ProcessLookupError:
        return False


class Output:
    """The output folder of a run, as somebody sees it who does not trust the program."""

    def __init__(self, path):
        self.path = path
        self.damaged = set()  # identities of checkpoint folders

    @staticmethod
    def name(step):
        return f"step-{step:08d}"

    @staticmethod
    def identity(checkpoint):
        status = checkpoint.stat()
        return status.st_ino, status.st_mtime_ns

    def checkpoints(self):
        """Steps of checkpoints, complete by their manifests and not damaged, newest first."""
        steps = []
        for checkpoint in self.path.glob("step-*"):
            try:
                manifest = json.loads((checkpoint / "manifest.json").read_bytes())
                sizes = {file["name"]: file["size"] for file in manifest["files"]}
                is_complete = all((checkpoint / n).stat().st_size == s for n, s in sizes.items())
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if is_complete and self.identity(checkpoint) not in self.damaged:
                steps.append(int(checkpoint.name[5:]))
        return sorted(steps, reverse=True)

    @property
    def newest(self):
        return next(iter(self.checkpoints()), 0)

    def records(self):
        """Lines of metrics.jsonl that are whole."""
        try:
            text = (self.path / "metrics.jsonl").read_text(errors="replace")
        except OSError:
            return []
        found = []
        for line in text.split("\n")[:-1]:
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"step": -1, "broken": line})
        return found

    @property
    def logged(self):
        """The last step in the metrics."""
        return max((record["step"] for record in self.records()), default=0)

    def figures(self):
        """The metrics without times."""
        return [{key: value for key, value in record.items()
                 if not key.endswith("Milliseconds") and key != "imagesPerSecond"}
                for record in self.records()]

    def leftovers(self):
        return sorted(p.name for p in self.path.glob(".*"))

    def hashes(self, program, step):
        """Of parameters and moments as the program computes them; a sentence if it refuses."""
        answer = subprocess.run(
            [program, "checkpoint", "inspect", str(self.path / self.name(step)), "--json"],
            capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        try:
            found = json.loads(answer.stdout)
            return found["parametersHash"], found["momentsHash"]
        except (ValueError, KeyError):
            return answer.stderr.decode(errors="replace").strip(), ""


# What a log says, in the order of importance.
SENTENCES = [
    (r"not complete after", "a rank is waited for"),
    (r"is not a finite number", "not finite"),
    (r"not those that the last update wrote", "weights changed"),
    (r"No space left", "no space left"),
    (r"Input/output error", "input/output error"),
    (r"stopped on request", "stopped on request"),
    (r"ended by signal (\d+)", "signal {}"),
    (r"launch: stopped", "stopped"),
]


def sentence(text):
    for pattern, words in SENTENCES:
        if match := re.search(pattern, text):
            return words.format(*match.groups())
    lines = [line for line in text.splitlines() if line.startswith("cae-dist: ")]
    return lines[-1][10:90] if lines else "done" if "weights in" in text else ""
