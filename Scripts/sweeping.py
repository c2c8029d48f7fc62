"""What Scripts/ablation, Scripts/sweep and Scripts/scale-sweep share: commands that a signal stops, runs that
are trained and evaluated once, files that a kill does not spoil, YAML, gnuplot."""

import argparse
import difflib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAUNCH = ROOT / "Cluster" / "launch"


class Failure(Exception):
    """One sentence, and the exit code that goes with it."""

    def __init__(self, text, code=65):
        super().__init__(text)
        self.code = code


def guarded(main):
    """Runs a script's main function; a failure is one sentence and an exit code."""
    try:
        sys.exit(main())
    except Failure as failure:
        sys.stderr.write(f"{pathlib.Path(sys.argv[0]).name}: {failure}\n")
        sys.exit(failure.code)


class Parser(argparse.ArgumentParser):
    """Of arguments; --help shows the text at the head of the script."""

    def __init__(self, text):
        super().__init__(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        raise Failure(f"{message}; --help says more", 64)


class Jobs:
    """Commands, one after the other, of a script that SIGTERM or Ctrl-C stops: code 75."""

    def __init__(self):
        self.is_stopping = False
        self._running, self._translation, self._missed = None, {}, None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._stop)

    def _stop(self, number, frame):
        self.is_stopping = True
        if self._running is None:
            self._missed = number
        else:
            self._send(number)

    def _send(self, number):
        self._running.send_signal(self._translation or number)

    def check(self):
        """Ends the script where it has been asked to stop."""
        if self.is_stopping:
            raise Failure("stopped; the same command goes on", 75)

    def run(self, command, log, output=None, stop=None):
        """The command's exit code; it is sent `stop`, else the same signal, where the script is stopped."""
        self.check()
        # A session of its own: Ctrl-C reaches it by this script alone, and once. Whatever ends the script
        # ends the command, too.
        command = ["setpriv", "--pdeathsig", "TERM", *map(str, command)]
        try:
            running = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output or log, stderr=log, start_new_session=True)
        except OSError as error:
            raise Failure(f"{command[0]}: {error.strerror}", 69) from error
        self._translation, self._running = stop, running
        if self._missed is not None:
            self._send(self._missed)
        code = running.wait()
        self._running = None
        return code


def last_words(text):
    """What the program has said at its end: one of its own sentences if there is one."""
    lines = [line for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(("cae-dist: ", "Error: "))]
    return (own or lines or [""])[-1].strip()


def cores_here():
    """That this process may use; nproc would obey OMP_NUM_THREADS."""
    return len(os.sched_getaffinity(0))


class Run:
    """The folder of a run: trained, and evaluated by some protocols, each once."""

    def __init__(self, jobs, folder, config, settings, program, ranks):
        self.jobs, self.folder = jobs, pathlib.Path(folder)
        self.config, self.settings = str(config), settings
        self.launch = [LAUNCH, "-n", str(ranks), program]

    def _call(self, arguments, log):
        path = self.folder / log
        begin = path.stat().st_size if path.exists() else 0
        with open(path, "a") as file:
            code = self.jobs.run([*self.launch, *arguments], file)
        if code != 0:
            text = path.read_bytes()[begin:].decode(errors="replace")
            code = 75 if self.jobs.is_stopping else code if code > 0 else 1
            raise Failure(f"{path}: code {code}: {last_words(text)}", code)

    def _is_done(self, mark, what):
        """Whether `what` is what has been done already."""
        path = self.folder / mark
        if not path.exists():
            return False
        if path.read_text() != what:
            raise Failure(f"{path} is of other settings than these:\n{what}name another --output")
        return True

    def train(self, announce):
        what = pathlib.Path(self.config).read_text()
        what += "".join(setting + "\n" for setting in self.settings)
        if self._is_done("trained", what):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        announce("training")
        sets = [word for setting in self.settings for word in ("--set", setting)]
        self._call(["--config", self.config, "--output", str(self.folder), *sets], "training.log")
        write(self.folder / "trained", what)

    def evaluate(self, number, protocol, announce):
        """What the program says of a protocol."""
        output, mark = self.folder / f"evaluation-{number}", f"evaluated-{number}"
        if not self._is_done(mark, protocol + "\n"):
            announce(f"evaluate {protocol}")
            words = shlex.split(protocol)
            self._call(
                ["evaluate", words[0], str(self.folder), "--output", str(output), *words[1:]],
                "evaluation.log")
            write(self.folder / mark, protocol + "\n")
        return json.loads(next(output.glob("*.json")).read_text())


def write(path, text):
    """The whole text or what was there before."""
    path = pathlib.Path(path)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text)
    os.replace(new, path)


def append_line(path, record):
    """Adds a record that is on the disk when this returns."""
    with open(path, "ab+") as file:
        if file.tell() > 0:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                # A kill has cut off the last line.
                file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path):
    """The records of a file, without a line that was cut off."""
    records = []
    if pathlib.Path(path).exists():
        for line in pathlib.Path(path).read_text(errors="replace").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
    return records


def load_yaml(path):
    """The mapping in a file."""
    try:
        import yaml
    except ImportError as error:
        raise Failure("there is no PyYAML; install it: apt-get install python3-yaml", 69) from error

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [key.value for key, _ in node.value]
            for key in keys:
                if keys.count(key) > 1:
                    raise yaml.MarkedYAMLError(None, None, f"{key} is given twice", node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(pathlib.Path(path).read_text(), Loader)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise Failure(f"{path}{line}: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(content, dict):
        raise Failure(f"{path}: should be keys and values, such as: repeats: 3")
    return content


def check_keys(mapping, known, where):
    """Refuses keys that are not known, by a sentence with the nearest one that is."""
    if not isinstance(mapping, dict):
        raise Failure(f"{where}: should be keys and values; known are: {', '.join(known)}")
    for key in mapping:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0)
            raise Failure(f"{where}: there is no key {key}; did you mean {near[0]}?")


def draw(script):
    """What gnuplot makes of a script; where it cannot, a failure says why."""
    if shutil.which("gnuplot") is None:
        raise Failure("there is no gnuplot (apt-get install gnuplot-nox)", 69)
    drawn = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True)
    if drawn.returncode != 0 or not drawn.stdout:
        raise Failure(f"gnuplot failed: {' '.join(drawn.stderr.split())}", 70)
    return drawn.stdout
