"""What a YAML of Scripts/scale-sweep asks for: series of points."""

import dataclasses
import itertools
import json
import re

from sweeping import Failure, check_keys, load_yaml

TOP = ["model", "imageSize", "repeats", "steps", "set", "countOversubscribed", "series"]
# Of a point; each may stand in a series, or in its `vary`.
AXES = ["ranks", "hosts", "ranksPerHost", "threads", "linkRate", "microBatch", "accumulation",
        "globalBatch", "exchange", "wire", "sharding"]
SERIES = ["kind", "vary", "reference", "goal", "set", *AXES]
KEYS = {"exchange": "gradientExchange", "wire": "wire", "sharding": "sharding"}
MODELS = ["tiny", "small", "base", "large"]


@dataclasses.dataclass(frozen=True)
class Point:
    """What one measurement runs. Equal points are measured once, whatever series they are in."""

    model: str
    image_size: int
    steps: int
    hosts: int
    ranks_per_host: int
    threads: int
    link_rate: str  # "" where the link is what it is
    micro_batch: int
    accumulation: int
    settings: tuple
    # Each rank for itself: as many processes, and no exchange.
    is_independent: bool = False

    @property
    def ranks(self):
        return self.hosts * self.ranks_per_host

    @property
    def cores(self):
        return self.ranks * self.threads

    @property
    def images(self):
        """Of a step of all ranks."""
        return self.ranks * self.micro_batch * self.accumulation

    def arguments(self):
        """Of the program."""
        words = ["bench", "step", "--json", "--model", self.model, "--image-size", self.image_size,
                 "--batch", self.micro_batch * self.accumulation, "--threads", self.threads,
                 "--repeats", self.steps, "--set", f"parallelism.microBatchSize={self.micro_batch}"]
        return [*map(str, words), *(word for setting in self.settings for word in ("--set", setting))]

    def plan_arguments(self):
        """Of the program, for its estimate of the same."""
        words = ["plan", "--json", "--model", self.model, "--image-size", self.image_size,
                 "--hosts", self.hosts, "--ranks-per-host", self.ranks_per_host, "--threads", self.threads,
                 "--micro-batch", self.micro_batch, "--accumulation", self.accumulation]
        return [*map(str, words), *(word for setting in self.settings for word in ("--set", setting))]

    @property
    def link_gbit(self):
        """None where the YAML does not say."""
        number, unit = re.fullmatch(r"(\d+)([kmg])bit", self.link_rate or "0gbit").groups()
        return int(number) / {"k": 1e6, "m": 1e3, "g": 1}[unit] or None

    def text(self):
        def many(number, what):
            return f"{number} {what}{'s' if number > 1 else ''}"

        words = [many(self.hosts, "host"), many(self.ranks_per_host, "rank") + (" each" if self.hosts > 1 else ""),
                 many(self.threads, "thread"), f"{self.accumulation} x {self.micro_batch} images a rank"]
        words += [self.link_rate] if self.link_rate else []
        words += [setting.partition(".")[2] for setting in self.settings]
        return ", ".join(words) + (", no exchange" if self.is_independent else "")


@dataclasses.dataclass
class Series:
    name: str
    kind: str
    goal: float  # None: no verdict
    points: list  # (label, Point); the first is the base
    axes: str
    has_references: bool

    def references(self):
        """For the label of a point of several ranks: the same without exchange."""
        if not self.has_references:
            return {}
        return {label: dataclasses.replace(point, is_independent=True)
                for label, point in self.points if point.ranks > 1}


@dataclasses.dataclass
class Sweep:
    repeats: int
    count_oversubscribed: bool
    series: list

    def points(self):
        """All, each once."""
        found = {}
        for series in self.series:
            references = series.references()
            for label, point in series.points:
                found[point] = None
                if label in references:
                    found[references[label]] = None
        return list(found)


def whole(value, where):
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Failure(f"{where}: {value} should be a whole number, 1 or more")
    return value


def choice(value, allowed, where):
    if value not in allowed:
        raise Failure(f"{where}: {value} should be one of: {', '.join(allowed)}")
    return value


def settings(value, where):
    if not isinstance(value, list) or any("=" not in str(setting) for setting in value):
        raise Failure(f"{where}: should be a list such as [parallelism.sharding=none]")
    return [str(setting) for setting in value]


def read(path):
    content = load_yaml(path)
    check_keys(content, TOP, path)
    series = content.get("series")
    if not series or not isinstance(series, dict):
        raise Failure(f"{path}: series: names none; write such as ranks: {{kind: weak, vary: {{ranks: [1, 2]}}}}")
    count = content.get("countOversubscribed", False)
    if not isinstance(count, bool):
        raise Failure(f"{path}: countOversubscribed: {count} should be true or false")
    common = {
        "model": choice(content.get("model", "base"), MODELS, f"{path}: model"),
        "image_size": whole(content.get("imageSize", 224), f"{path}: imageSize"),
        "steps": whole(content.get("steps", 5), f"{path}: steps"),
    }
    shared = settings(content.get("set", []), f"{path}: set")
    return Sweep(
        whole(content.get("repeats", 3), f"{path}: repeats"), count,
        [read_series(f"{path}: series.{name}", str(name), keys, common, shared)
         for name, keys in series.items()])


def read_series(where, name, keys, common, shared):
    check_keys(keys, SERIES, where)
    if not re.fullmatch(r"[\w.-]+", name):
        raise Failure(f"{where}: a name is letters, digits, points and hyphens")
    kind = choice(keys.get("kind"), ["weak", "strong"], f"{where}.kind")
    if "reference" in keys:
        choice(keys["reference"], ["independent"], f"{where}.reference")
    goal = keys.get("goal")
    if goal is not None and not (isinstance(goal, (int, float)) and 0 < goal <= 2):
        raise Failure(f"{where}.goal: {goal} should be an efficiency, such as 0.95")
    vary = keys.get("vary")
    check_keys(vary, AXES, f"{where}.vary")
    for axis, values in vary.items():
        if not isinstance(values, list) or not values:
            raise Failure(f"{where}.vary.{axis}: should be a list, the base first, such as [1, 2]")
        if axis in keys:
            raise Failure(f"{where}: {axis} is given twice, alone and in vary")
    shared = shared + settings(keys.get("set", []), f"{where}.set")
    points = []
    for values in itertools.product(*vary.values()):
        point = {key: keys[key] for key in AXES if key in keys} | dict(zip(vary, values))
        points.append((", ".join(map(str, values)), read_point(where, kind, point, common, shared)))
    if len({label for label, _ in points}) < len(points):
        raise Failure(f"{where}.vary: has the same value twice")
    return Series(name, kind, goal, points, ", ".join(vary), "reference" in keys)


def read_point(where, kind, keys, common, shared):
    def number(key, default):
        return whole(keys.get(key, default), f"{where}.{key}")

    hosts = number("hosts", 1)
    if "ranks" in keys and "ranksPerHost" in keys:
        raise Failure(f"{where}: give ranks or ranksPerHost, not both")
    ranks = number("ranks", hosts * number("ranksPerHost", 1))
    if ranks % hosts != 0:
        raise Failure(f"{where}: {ranks} ranks cannot be spread evenly over {hosts} hosts")
    # One host has no link.
    rate = str(keys.get("linkRate", "1gbit")) if hosts > 1 else ""
    if not re.fullmatch(r"([1-9]\d*[kmg]bit)?", rate):
        raise Failure(f"{where}.linkRate: {rate} should be a rate such as 1gbit or 500mbit")
    micro_batch, accumulation = number("microBatch", 1), number("accumulation", 1)
    if kind == "strong" or "globalBatch" in keys:
        if kind == "weak" or "accumulation" in keys:
            raise Failure(f"{where}: globalBatch is of strong series, which have no accumulation of their own")
        if "globalBatch" not in keys:
            raise Failure(f"{where}: a strong series needs globalBatch, the images of a step of all ranks")
        accumulation, rest = divmod(number("globalBatch", None), ranks * micro_batch)
        if rest or not accumulation:
            raise Failure(f"{where}: globalBatch {keys['globalBatch']} should be a multiple of {ranks} ranks x "
                          f"microBatch {micro_batch}")
    chosen = [f"parallelism.{KEYS[key]}={keys[key]}" for key in KEYS if key in keys]
    return Point(
        hosts=hosts, ranks_per_host=ranks // hosts, threads=number("threads", 1), link_rate=rate,
        micro_batch=micro_batch, accumulation=accumulation, settings=(*shared, *chosen), **common)


def identity(point, surroundings):
    """What a measurement is of, as text: the point, and the program and machine that it was measured with."""
    return json.dumps([dataclasses.asdict(point), surroundings], sort_keys=True)
