"""What the trials of Scripts/chaos share: inputs, the undisturbed run, what is to be cleaned up."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

from chaos_faults import NEEDS_HOSTS, NEEDS_ROOT
from chaos_run import HOSTS, STEPS, Job, Output, make_inputs, send


class Setting:
    def __init__(self, options, folder):
        self.program, self.folder = options.program, folder
        self.seed, self.keep = options.seed, options.keep
        self.jobs, self.mounts, self.hosts_are_up = [], [], False
        self.segments = set(os.listdir("/dev/shm"))
        self.configuration = make_inputs(self.program, folder)

    def run_undisturbed(self):
        output = Output(self.folder / "undisturbed")
        begun = time.monotonic()
        job = Job(self, 4, output.path, self.folder / "undisturbed.log")
        code = job.wait()
        if code != 0:
            sys.exit(f"the undisturbed run ended with {code}:\n{job.text}")
        self.hashes, self.figures = output.hashes(self.program, STEPS), output.figures()
        self.checkpoint_bytes = sum(
            p.stat().st_size for p in (output.path / output.name(STEPS)).iterdir())
        steps = [record["step"] for record in self.figures]
        if steps != list(range(1, STEPS + 1)) or not self.hashes[1]:
            sys.exit(f"the undisturbed run is not as it should be: steps {steps}, {self.hashes[0]}")
        print(f"undisturbed: {STEPS} steps on 4 ranks in {time.monotonic() - begun:.1f} s, checkpoints "
              f"of {self.checkpoint_bytes / 1e6:.1f} MB, parameters {self.hashes[0]}, moments "
              f"{self.hashes[1]}", flush=True)

    def supports_stop(self):
        output = Output(self.folder / "stop")
        job = Job(self, 2, output.path, self.folder / "stop.log")
        while not job.has_ended and output.logged < 2:
            time.sleep(0.01)
        process = job.mpirun()
        return bool(process and send(process, signal.SIGUSR1) and job.wait() == 75)

    def available(self, kinds):
        """Those of the kinds that this machine and the program can do; says what is left out."""
        reasons = {}
        families = {kind.family for kind in kinds}
        if "stop" in families and not self.supports_stop():
            reasons["stop"] = "SIGUSR1 does not end the program with exit code 75"
        if NEEDS_ROOT in families and os.geteuid() != 0:
            reasons[NEEDS_ROOT] = "only root can mount a small disk"
        if NEEDS_HOSTS in families:
            answer = subprocess.run([HOSTS, "check"], capture_output=True, text=True)
            if answer.returncode != 0:
                reasons[NEEDS_HOSTS] = answer.stderr.strip()
        for family, reason in reasons.items():
            print(f"left out: {family}: {reason}", flush=True)
        return [kind for kind in kinds if kind.family not in reasons]

    def raise_hosts(self):
        """Why there are none; None if there are."""
        if not self.hosts_are_up:
            answer = subprocess.run(
                [HOSTS, "up", "2", "--rate", "1gbit"], capture_output=True, text=True)
            if answer.returncode != 0:
                return answer.stderr.strip()
            self.hosts_are_up = True
        return None

    def lower_hosts(self):
        """Others may want them between trials."""
        if self.hosts_are_up:
            subprocess.run([HOSTS, "down"], stdout=subprocess.DEVNULL)
        self.hosts_are_up = False

    def unmount(self):
        while self.mounts:
            # Lazily where a process that was killed is not quite gone.
            subprocess.run(["umount", "--lazy", self.mounts.pop()], check=True)

    def clean_up(self):
        """Ends what still runs; returns the names of segments that were left in /dev/shm."""
        for job in self.jobs:
            if not job.has_ended:
                job.kill()
        self.unmount()
        self.lower_hosts()
        maps = ""
        for path in pathlib.Path("/proc").glob("[0-9]*/maps"):
            try:
                maps += path.read_text(errors="replace")
            except OSError:
                continue
        left = [p for p in pathlib.Path("/dev/shm").iterdir()
                if re.match(r"(vader|osc|sm|ompi|pmix)", p.name) and p.name not in self.segments
                and p.is_file() and p.owner() == os.environ.get("USER", p.owner())
                and p.name not in maps]
        for path in left:
            path.unlink(missing_ok=True)
        return [path.name for path in left]
