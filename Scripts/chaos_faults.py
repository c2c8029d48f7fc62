"""The kinds of faults of Scripts/chaos.

A kind is done to a run by `arguments` it starts with, by `strike` while it runs, or by `damage` to
its newest checkpoint while nothing runs.
"""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import time
import typing

from chaos_run import EVERY, HOSTS, KEPT, POLL, STEPS, Output, send

STARTUP_SECONDS = 1.0  # until the first step, or so
STALL = ["--set", "parallelism.stallTimeoutSeconds=2"]
# Or mpirun waits for the daemon of a lost host for minutes after its ranks have ended.
KEEPALIVE = {f"OMPI_MCA_oob_tcp_keepalive_{name}": str(value)
             for name, value in [("time", 1), ("intvl", 1), ("probes", 2)]}


@dataclasses.dataclass
class Kind:
    family: str
    name: str
    codes: tuple  # how a run may end that it was done to
    arguments: typing.Optional[typing.Callable] = None  # of a Situation; None: there is no room
    strike: typing.Optional[typing.Callable] = None  # of a Situation and a Job; says what it did
    damage: typing.Optional[typing.Callable] = None  # of a file and a generator; says what it did
    alone: bool = False  # needs a run of its own
    fewest: int = 1  # ranks
    environment: dict = dataclasses.field(default_factory=dict)
    loses_nothing: bool = False


@dataclasses.dataclass
class Situation:
    """A run that is about to start, and the generator of its fault."""

    rng: random.Random
    ranks: int
    first: int  # the step that it resumes from
    complete: int  # checkpoints
    output: Output
    path: object = None  # where the output's disk is mounted
    checkpoint_bytes: int = 0
    note: str = ""

    def step(self, low, high=STEPS, multiple=1):
        """A random multiple of `multiple`; None if there is none. Always draws once."""
        share = self.rng.random()
        choices = range(-(-low // multiple) * multiple, high + 1, multiple)
        return choices[int(share * len(choices))] if choices else None

    def wait(self, job, skip=0):
        """Waits for a random moment: during the start, or a little after a random step.

        With `skip` it is not before so many steps. Returns its name; None if the run had ended."""
        share, delay = self.rng.random(), self.rng.random()
        step = self.step(self.first + 1 + skip, STEPS - 2)
        begun = time.monotonic()
        if step is None or share < 0.2 and not skip:
            time.sleep(delay * STARTUP_SECONDS)
            name = f"{delay * STARTUP_SECONDS * 1e3:.0f} ms after the start"
            return None if job.has_ended else name
        while self.output.logged < step or not self.has_begun(job):
            if job.has_ended or time.monotonic() - begun > 60:
                return None
            time.sleep(POLL / 2)
        time.sleep(delay * 0.02)
        return None if job.has_ended else f"in step {step + 1}"

    def has_begun(self, job):
        """Lines that are in the metrics before may be older."""
        return "steps done;" in job.text or "starting anew" in job.text


# While it runs


def wait_for(job, found):
    """What `found` gives when it gives something; None if the job ends before."""
    while not job.has_ended:
        if result := found():
            return result
        time.sleep(POLL)
    return None


def kill_rank(situation, job):
    rank = situation.rng.randrange(situation.ranks)
    moment = situation.wait(job)
    process = moment and wait_for(job, lambda: job.rank_processes().get(rank))
    return f"rank {rank} {moment}" if process and send(process, signal.SIGKILL) else None


def kill_all(situation, job):
    """As by a power cut."""
    moment = situation.wait(job)
    processes = moment and wait_for(job, job.mpirun) and [p for p, _ in job.members()]
    if not processes:
        return None
    for process in [job.process.pid, *processes]:
        send(process, signal.SIGKILL)
    return moment


def freeze_rank(situation, job):
    """As by a debugger, or a disk that does not answer. Not in the first step: see `hang`."""
    rank = situation.rng.randrange(situation.ranks)
    moment = situation.wait(job, skip=1)
    process = moment and wait_for(job, lambda: job.rank_processes().get(rank))
    return f"rank {rank} {moment}" if process and send(process, signal.SIGSTOP) else None


def signal_mpirun(number):
    def strike(situation, job):
        moment = situation.wait(job)
        process = moment and wait_for(job, job.mpirun)
        return moment if process and send(process, number) else None
    return strike


def signal_launcher(situation, job):
    moment = situation.wait(job)
    # It has to have come as far as its own handler.
    if not moment or not wait_for(job, job.mpirun):
        return None
    return moment if send(job.process.pid, signal.SIGTERM) else None


def stop(target, is_rank=False):
    """`target`: the process to ask, of a job and a rank."""
    def strike(situation, job):
        rank, moment = situation.rng.randrange(situation.ranks), situation.wait(job)
        # Before the program has begun, a signal that it asks for is one that ends it.
        if not moment or not wait_for(job, lambda: situation.has_begun(job)):
            return None
        process = wait_for(job, lambda: target(job, rank))
        if not process or not send(process, signal.SIGUSR1):
            return None
        return f"rank {rank} {moment}" if is_rank else moment
    return strike


def cut_link(seconds=None):
    """Down for some seconds; for ever, as far as the job goes, without."""
    def strike(situation, job):
        host, moment = situation.rng.choice("12"), situation.wait(job)
        pause = seconds and situation.rng.choice(seconds)
        if not moment or not wait_for(job, lambda: situation.has_begun(job)):
            return None
        subprocess.run([HOSTS, "link", host, "down"], check=True, timeout=30)
        if not pause:
            return f"host {host} {moment}"
        time.sleep(pause)
        subprocess.run([HOSTS, "link", host, "up"], check=True, timeout=30)
        return f"host {host} {moment}, for {pause} s"
    return strike


# By the program to itself


def inject(kind, *arguments, skip=1, rank=None):
    """Before or in a random step."""
    def make(situation):
        drawn = situation.rng.randrange(situation.ranks)
        step = situation.step(situation.first + skip)
        chosen = drawn if rank is None else rank
        return step and ["--inject", f"rank={chosen},step={step},kind={kind}", *arguments]
    return make


def inject_save(kind, at=None, rank=None):
    """In the checkpoint after a random step; pruning takes older ones."""
    def make(situation):
        drawn = situation.rng.randrange(situation.ranks)
        saves = max(1, KEPT + 1 - situation.complete) if at == "prune" else 1
        step = situation.step(situation.first + 1 + (saves - 1) * EVERY, multiple=EVERY)
        chosen = drawn if rank is None else rank
        return step and [
            "--inject", f"rank={chosen},step={step},kind={kind}" + (f",at={at}" if at else "")]
    return make


def slow_end(situation):
    """So that the run is still there when mpirun's grace of a second ends."""
    step = situation.step((situation.first + STEPS) // 2)
    return step and ["--inject", f"rank=0,step={step},kind=slow"]


def free_bytes(situation):
    """Room on a disk that is too small: for the first save, a later one, or next to nothing."""
    room = KEPT + 1 - situation.complete - 0.1
    share = situation.rng.uniform(0, room) if situation.rng.random() < 0.75 else 0
    return max(4096, int(share * situation.checkpoint_bytes))


def shrink_disk(situation, free):
    """Makes the disk so small, where it is, that this is left on it."""
    state = os.statvfs(situation.path)
    size = (state.f_blocks - state.f_bfree) * state.f_frsize + free
    subprocess.run(["mount", "-o", f"remount,size={size}", situation.path], check=True)
    situation.note = f"{free / 1e6:.3f} MB free"
    return []


# To a file, while nothing runs


def flip(path, rng):
    data = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(data)), rng.randrange(8)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    return f"bit {bit} of byte {place}"


def truncate(path, rng):
    size = rng.randrange(path.stat().st_size)
    os.truncate(path, size)
    return f"{size} bytes"


def remove(path, rng):
    path.unlink()
    return "removed"


def zero(path, rng):
    path.write_bytes(bytes(path.stat().st_size))
    return "zeros"


def older(path, rng):
    """What the checkpoint before has under that name, as after a write that was lost."""
    before = sorted(p for p in path.parent.parent.glob("step-*") if p < path.parent)[-1]
    if not (before / path.name).is_file():
        return zero(path, rng)
    shutil.copyfile(before / path.name, path)
    return f"that of {before.name}"


LOST = (76,)
KINDS = [
    Kind("kill", "rank-kill", LOST, strike=kill_rank),
    Kind("kill", "all-killed", (-9,), strike=kill_all),
    Kind("mpirun-kill", "mpirun-kill", LOST, strike=signal_mpirun(signal.SIGKILL)),
    # 1 is mpirun's own code.
    Kind("term", "mpirun-term", (1, 75, 76), arguments=slow_end,
         strike=signal_mpirun(signal.SIGTERM)),
    Kind("term", "launch-term", (1, 75, 76), arguments=slow_end, strike=signal_launcher),
    Kind("inject-kill", "inject-kill", LOST, arguments=inject("kill")),
    Kind("save-kill", "kill-at-part", LOST, arguments=inject_save("kill", "part")),
    Kind("save-kill", "kill-at-manifest", LOST, arguments=inject_save("kill", "manifest", rank=0)),
    Kind("save-kill", "kill-at-rename", LOST, arguments=inject_save("kill", "rename", rank=0)),
    Kind("save-kill", "kill-at-prune", LOST, arguments=inject_save("kill", "prune", rank=0)),
    # It is others that miss the rank; in its first step only after five times as long.
    Kind("hang", "hang", LOST, arguments=inject("hang", *STALL, skip=2),
         fewest=2),
    Kind("hang", "freeze", LOST, arguments=lambda situation: STALL, strike=freeze_rank, fewest=2),
    Kind("nan", "nan", (1,), arguments=inject("nan")),
    Kind("memory-flip", "memory-flip", (70,), arguments=inject("bitflip")),
    Kind("slow", "slow", (0,), arguments=inject("slow")),
    Kind("write", "enospc", (74,), arguments=inject_save("enospc")),
    Kind("write", "eio", (74,), arguments=inject_save("eio")),
    Kind("write", "short-write", (0,), arguments=inject_save("short-write")),
    Kind("file", "file-bit", (), damage=flip),
    Kind("file", "file-truncated", (), damage=truncate),
    Kind("file", "file-removed", (), damage=remove),
    Kind("file", "file-zeros", (), damage=zero),
    Kind("file", "file-older", (), damage=older),
    Kind("stop", "stop-mpirun", (75,), strike=stop(lambda job, rank: job.mpirun()),
         loses_nothing=True),
    Kind("stop", "stop-launch", (75,), strike=stop(lambda job, rank: job.process.pid),
         loses_nothing=True),
    Kind("stop", "stop-rank", (75,), loses_nothing=True,
         strike=stop(lambda job, rank: job.rank_processes().get(rank), is_rank=True)),
    Kind("disk-full", "disk-full", (74,), alone=True,
         arguments=lambda situation: shrink_disk(situation, free_bytes(situation))),
    # 205 is mpirun's own code for a daemon that it has lost.
    Kind("link", "link-cut", (76, 205), arguments=lambda situation: STALL, strike=cut_link(),
         alone=True, fewest=4, environment=KEEPALIVE),
    # A short one is nothing to notice; after a long one the ranks have missed each other.
    Kind("link", "link-blip", (0, 76), arguments=lambda situation: STALL,
         strike=cut_link(seconds=(0.5, 8)), alone=True, fewest=4),
]
# One of each of these families in every round of the campaign, and now and then one of the others.
ROUND = ["kill", "mpirun-kill", "term", "inject-kill", "save-kill", "hang", "nan", "memory-flip",
         "slow", "write", "file", "stop"]
NEEDS_ROOT, NEEDS_HOSTS = "disk-full", "link"  # families
ROUNDS_OF_HOSTS = 2  # between cut links, which take long


def draw(kinds, count, seed):
    """`count` kinds in the order of the campaign."""
    rng = random.Random(f"{seed} kinds")
    families = {}
    for kind in kinds:
        families.setdefault(kind.family, []).append(kind)
    for variants in families.values():
        rng.shuffle(variants)
    drawn, rounds = [], 0
    while len(drawn) < count:
        rounds += 1
        order = [f for f in ROUND if f in families]
        rng.shuffle(order)
        others = [NEEDS_ROOT] + [NEEDS_HOSTS] * (rounds % ROUNDS_OF_HOSTS == 0 or not order)
        for family in order + [f for f in others if f in families]:
            variants = families[family]
            drawn.append(variants[0])
            variants.append(variants.pop(0))
    return drawn[:count]
