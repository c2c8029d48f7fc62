"""What Scripts/scale-sweep makes of its measurements: medians, efficiencies, verdicts, points.csv."""

import collections
import csv
import dataclasses
import io
import statistics

from sweeping import read_lines


@dataclasses.dataclass
class Spread:
    median: float
    low: float
    high: float

    @staticmethod
    def of(values):
        return Spread(statistics.median(values), min(values), max(values)) if values else None


@dataclasses.dataclass
class Row:
    """A point in a series; what is not known is None."""

    series: str
    label: str
    point: object
    launcher: str
    is_oversubscribed: bool
    records: list
    error: str = None
    rate: Spread = None
    # Images/s a core against the base, pair by pair of interleaved measurements.
    efficiency: Spread = None
    # Against as many processes that exchange nothing.
    of_independent: Spread = None
    step: float = None
    exposed: float = None
    breakdown: dict = None
    plan: dict = None
    plan_efficiency: float = None

    @property
    def exposed_share(self):
        return self.exposed / self.step if self.step else None


def medians(records, key):
    return statistics.median(record[key] for record in records) if records else None


def ratios(row, base):
    """Efficiency: the first with the first, the second with the second, as they were measured in turn."""
    scale = row.point.cores / base.point.cores
    return Spread.of([
        one["imagesPerSecond"] / (other["imagesPerSecond"] * scale)
        for one, other in zip(row.records, base.records)])


class Figures:
    def __init__(self, sweep, meter, plan_of):
        self.sweep = sweep
        self.records, self.errors = collections.defaultdict(list), {}
        for record in read_lines(meter.path):
            if "imagesPerSecond" in record:
                self.records[record["key"]].append(record)
                self.errors.pop(record["key"], None)
            elif "error" in record:
                self.errors[record["key"]] = record["error"]
        self.meter, self.plan_of = meter, plan_of
        # By the name of a series: rows, the base first; by the label of a point: what it is without exchange.
        self.rows, self.independent = {}, {}
        for series in sweep.series:
            self._series(series)

    def count(self, point):
        return len(self.records[self.meter.key(point)])

    def _row(self, series, label, point):
        key, launcher = self.meter.key(point), self.meter.launcher_of(point)
        records = self.records[key][:self.sweep.repeats]
        row = Row(series.name, label, point, launcher.name, point.cores > launcher.cores(point), records,
                  self.errors.get(key))
        if records:
            row.rate = Spread.of([record["imagesPerSecond"] for record in records])
            row.step = medians(records, "stepMilliseconds")
            row.exposed = medians(records, "exposedCommunicationMilliseconds")
            row.breakdown = {kind: statistics.mean(record["breakdown"][kind] for record in records)
                             for kind in records[0]["breakdown"]}
        return row

    def _series(self, series):
        references = series.references()
        rows = [self._row(series, label, point) for label, point in series.points]
        independent = {label: self._row(series, f"{label} alone", point)
                       for label, point in references.items()}
        for row in rows:
            row.plan = self.plan_of(row.point).get("time")
        base = rows[0]
        for row in [*rows, *independent.values()]:
            row.efficiency = ratios(row, base)
            if row.plan and base.plan:
                scale = row.point.cores / base.point.cores
                row.plan_efficiency = row.plan["imagesPerSecond"] / (base.plan["imagesPerSecond"] * scale)
        for row in rows:
            if row.label in independent:
                row.of_independent = ratios(row, independent[row.label])
        self.rows[series.name], self.independent[series.name] = rows, independent

    def counts(self, row):
        """Whether a verdict looks at it."""
        return self.sweep.count_oversubscribed or not row.is_oversubscribed

    def verdict(self, series):
        """Whether the goal is reached, None where that is not known (yet), and a sentence."""
        if series.goal is None:
            return None, "no goal"
        goal = f"goal {100 * series.goal:g} %"
        rows = [row for row in self.rows[series.name][1:] if self.counts(row)]
        if not rows:
            return None, f"{goal}: no point to judge by; this machine has too few cores"
        if any(row.efficiency is None for row in rows):
            return None, f"{goal}: not all points are measured"
        worst = min(rows, key=lambda row: row.efficiency.median)
        reached = worst.efficiency.median >= series.goal
        return reached, (f"{goal} {'reached' if reached else 'missed'}: "
                         f"{100 * worst.efficiency.median:.1f} % at {series.axes} {worst.label}")

    def csv(self):
        output = io.StringIO()
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(COLUMNS)
        for series in self.sweep.series:
            for row in [*self.rows[series.name], *self.independent[series.name].values()]:
                writer.writerow(cells(series, row))
        return output.getvalue()


COLUMNS = [
    "series", "kind", "point", "launcher", "hosts", "ranksPerHost", "threads", "linkRate", "microBatch",
    "accumulation", "settings", "independent", "oversubscribed", "measurements", "imagesPerSecond",
    "imagesPerSecondMin", "imagesPerSecondMax", "efficiency", "efficiencyMin", "efficiencyMax",
    "ofIndependent", "stepMilliseconds", "exposedCommunicationMilliseconds", "exposedShare",
    "planImagesPerSecond", "planEfficiency", "error"]


def cells(series, row):
    def number(value):
        return "" if value is None else f"{value:.6g}"

    def spread(value):
        return [""] * 3 if value is None else [number(value.median), number(value.low), number(value.high)]

    point = row.point
    return [
        series.name, series.kind, row.label, row.launcher, point.hosts, point.ranks_per_host, point.threads,
        point.link_rate, point.micro_batch, point.accumulation, " ".join(point.settings),
        int(point.is_independent), int(row.is_oversubscribed), len(row.records), *spread(row.rate),
        *spread(row.efficiency), number(row.of_independent and row.of_independent.median), number(row.step),
        number(row.exposed), number(row.exposed_share),
        number(row.plan and row.plan["imagesPerSecond"]), number(row.plan_efficiency), row.error or ""]
