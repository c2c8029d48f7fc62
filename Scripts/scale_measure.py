"""How Scripts/scale-sweep measures a point: cae-dist bench step, started by a launcher."""

import datetime
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

from scale_points import identity
from sweeping import LAUNCH, ROOT, Failure, append_line, cores_here, last_words

HOSTS = ROOT / "Cluster" / "emulated-hosts"
# Started as a rank, a process that knows nothing of the others: the same places, and no exchange.
ALONE = """
output=$1.$OMPI_COMM_WORLD_RANK
for name in $(env | sed -nE 's/^((OMPI|PMIX)_[A-Za-z0-9_]*)=.*/\\1/p'); do unset "$name"; done
shift
exec "$@" >"$output"
"""


class Local:
    """Ranks on this machine, by Cluster/launch."""

    name, stop = "launch", signal.SIGUSR2
    hosts = 1

    def prepare(self, point):
        if point.hosts > self.hosts:
            raise Failure(f"{point.hosts} hosts, but --launcher {self.name} has {self.hosts}")

    def command(self, point):
        # Open MPI binds a rank of two to one core, with all of its threads.
        bound = ["--bind-to", "none"] if point.threads > 1 and 1 < point.ranks <= cores_here() else []
        return [LAUNCH, "-n", point.ranks, *bound]

    def cores(self, point):
        return cores_here()

    def close(self):
        pass


class Emulated(Local):
    """Ranks on emulated hosts, which this brings up when they are first needed, and down at the end."""

    name, stop = "emulated-hosts", signal.SIGTERM

    def __init__(self, hosts):
        self.hosts, self._keeper, self._reason = hosts, None, None

    def _up(self):
        # By a process that takes them down whatever ends this one.
        self._keeper = subprocess.Popen(
            ["sh", "-c", '"$1" up "$2" && cat >/dev/null && "$1" down', "sh", HOSTS, str(self.hosts)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True)
        words = []
        for line in self._keeper.stdout:
            if line.startswith("up: "):
                return
            words.append(line.strip())
        self.close()
        self._reason = words[-1] if words else "no emulated hosts"

    def prepare(self, point):
        if self._keeper is None:
            self._up()
        if self._reason:
            raise Failure(self._reason, 69)
        for host in range(1, point.hosts + 1):
            changed = subprocess.run(
                [HOSTS, "link", str(host), "rate", point.link_rate or "1gbit"], capture_output=True, text=True)
            if changed.returncode != 0:
                raise Failure(changed.stderr.strip(), changed.returncode)

    def command(self, point):
        slots = ",".join([str(point.ranks_per_host)] * point.hosts)
        return [HOSTS, "run", "--hosts-slots", slots, "--", "-n", point.ranks]

    def close(self):
        if self._keeper is not None:
            self._keeper.stdin.close()
            self._keeper.wait()


class Slurm(Local):
    """Ranks on the hosts of the allocation that this runs in; what their links are, nobody sets."""

    name = "slurm"

    def __init__(self, folder):
        nodes = os.environ.get("SLURM_JOB_NODELIST")
        if not nodes or shutil.which("scontrol") is None:
            raise Failure("--launcher slurm is for an allocation of Slurm; start this by sbatch or salloc", 69)
        names = subprocess.run(["scontrol", "show", "hostnames", nodes], capture_output=True, text=True)
        if names.returncode != 0:
            raise Failure(names.stderr.strip(), 69)
        self._names, self._file = names.stdout.split(), folder / "hosts"
        self.hosts = len(self._names)

    def command(self, point):
        lines = [f"{name} slots={point.ranks_per_host}\n" for name in self._names[:point.hosts]]
        self._file.write_text("".join(lines))
        bound = ["--bind-to", "none"] if point.threads > 1 and point.ranks > 2 else []
        return [LAUNCH, "-n", point.ranks, "--hostfile", self._file, "--map-by", "slot", *bound]

    def cores(self, point):
        return point.hosts * int(os.environ.get("SLURM_CPUS_ON_NODE", cores_here()))


def launchers(name, folder, points):
    """By the number of hosts of a point, which launcher."""
    hosts = max(point.hosts for point in points)
    if name == "slurm":
        slurm = Slurm(folder)
        return lambda point: slurm
    local, emulated = Local(), Emulated(hosts)
    if name is not None:
        chosen = {"launch": local, "emulated-hosts": emulated}[name]
        return lambda point: chosen
    return lambda point: emulated if point.hosts > 1 else local


def surroundings(program):
    """What figures depend on beside the point."""
    path = shutil.which(program)
    if path is None:
        raise Failure(f"{program}: command not found; put ~/.local/bin into your PATH", 127)
    cpu = [line.partition(":")[2].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
           if line.startswith("model name")]
    return {
        "program": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:12],
        "host": socket.gethostname(), "cpu": cpu[0] if cpu else "", "cores": cores_here(),
        "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE", ""),
    }


class Meter:
    """Measures points and keeps each measurement at once in measurements.jsonl."""

    def __init__(self, jobs, folder, program, launcher_of):
        self.jobs, self.folder, self.program, self.launcher_of = jobs, folder, program, launcher_of
        self.surroundings = surroundings(program)
        self.path = folder / "measurements.jsonl"

    def key(self, point):
        return identity(point, self.surroundings | {"launcher": self.launcher_of(point).name})

    def measure(self, point):
        """A record; it has `error` where the point could not be measured."""
        begun = datetime.datetime.now(datetime.timezone.utc)
        record = {"key": self.key(point), "time": begun.isoformat(timespec="seconds")}
        try:
            record |= self._measure(point)
        except Failure as failure:
            # What failed because of a stop is no failure of the point.
            self.jobs.check()
            record |= {"error": str(failure), "code": failure.code}
        record["seconds"] = round((datetime.datetime.now(datetime.timezone.utc) - begun).total_seconds(), 1)
        append_line(self.path, record)
        return record

    def _measure(self, point):
        launcher = self.launcher_of(point)
        launcher.prepare(point)
        output = self.folder / "output"
        outputs, command = [output], launcher.command(point)
        if point.is_independent:
            outputs = [self.folder / f"output.{rank}" for rank in range(point.ranks)]
            command += ["sh", "-c", ALONE, "sh", output]
        command += [self.program, *point.arguments()]
        log = self.folder / "last.log"
        try:
            with open(log, "w") as errors, open(output, "w") as answer:
                code = self.jobs.run(command, errors, output=answer, stop=launcher.stop)
            words = log.read_text(errors="replace")
            if code != 0:
                self.jobs.check()
                raise Failure(last_words(words) or f"ended with code {code}", code if code > 0 else 1)
            return combined(point, [path.read_text() for path in outputs])
        finally:
            for path in (output, *outputs):
                path.unlink(missing_ok=True)


def combined(point, texts):
    """One record of what one exchanging job, or each of several independent processes, has said."""
    try:
        reports = [json.loads(text) for text in texts]
        ranks = sum(report["ranks"] for report in reports)
        if ranks != point.ranks:
            raise Failure(f"{ranks} ranks have run, not {point.ranks}", 70)
        rate = sum(report["imagesPerSecond"] for report in reports)
        kinds = {kind: sum(report["breakdown"][kind] for report in reports) / len(reports)
                 for kind in reports[0]["breakdown"]}
        return {
            "imagesPerSecond": rate, "stepMilliseconds": 1000 * point.images / rate,
            "exposedCommunicationMilliseconds": max(
                report["exposedCommunicationMilliseconds"] for report in reports),
            "breakdown": kinds, "proportionalBytes": sum(report["proportionalBytes"] for report in reports),
            "kernels": sorted({report["kernels"] for report in reports}),
        }
    except (ValueError, KeyError) as error:
        raise Failure(f"cannot read what bench step has printed: {error!r}", 70) from error


class Plan:
    """What `cae-dist plan` expects of points, by the rates that this machine was calibrated to."""

    def __init__(self, program, launcher_of):
        self.program, self.launcher_of, self.reason, self.rates = program, launcher_of, None, None

    def of(self, point):
        """`time` and `sum` of a plan; nothing where there is none."""
        cores = max(1, self.launcher_of(point).cores(point) // point.hosts)
        words = [*point.plan_arguments(), "--cores-per-host", str(cores)]
        if point.link_gbit:
            words += ["--link-gbit", str(point.link_gbit)]
        answer = subprocess.run([self.program, *words], capture_output=True, text=True)
        if answer.returncode != 0:
            self.reason = last_words(answer.stderr)
            return {}
        found = json.loads(answer.stdout)
        self.rates = found["calibration"]
        return found
