"""The page of Scripts/scale-sweep: tables, and charts that gnuplot draws into it."""

import html
import re

from sweeping import Failure, draw

# Colours that gnuplot is told, and what the page makes of them, light or dark.
INK, FAINT = "#010203", "#010204"
LINES = ["#010301", "#010302", "#010303", "#010304"]
# Of kinds of time: on both grounds.
KINDS = {
    "products": "#3b82c4", "attention": "#1ba39c", "elementwise": "#7bb662", "activations": "#b5a642",
    "norms": "#a78bca", "optimizer": "#e08e45", "loss": "#c25a7c", "dataMovement": "#8a6d5a",
    "waiting": "#b0b7bf", "other": "#d9534f",
}
STYLE = """
:root{color-scheme:light dark;--page:#f6f8fa;--card:#fff;--ink:#24292f;--soft:#57606a;--faint:#d0d7de;
--line0:#0b62c4;--line1:#c2410c;--line2:#15803d;--line3:#9333ea}
@media(prefers-color-scheme:dark){:root{--page:#0d1117;--card:#161b22;--ink:#e6edf3;--soft:#9198a1;
--faint:#3d444d;--line0:#58a6ff;--line1:#ff9b5e;--line2:#4ac26b;--line3:#c297ff}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:16px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:22px;margin:8px 0}h2{font-size:17px;margin:28px 0 4px}p{margin:6px 0;color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,350px),1fr));gap:12px;margin:12px 0}
figure{margin:0;padding:8px;background:var(--card);border:1px solid var(--faint);border-radius:8px}
figcaption{color:var(--soft);font-size:13px}
svg{display:block;width:100%;height:auto}svg tspan{font-family:system-ui,sans-serif}
.wide{overflow-x:auto;background:var(--card);border:1px solid var(--faint);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 12px;text-align:left;white-space:nowrap}th{color:var(--soft);font-weight:600}
tbody tr{border-top:1px solid var(--faint)}
"""


def quoted(text):
    """For gnuplot."""
    return "'" + text.replace("'", "''") + "'"


class Chart:
    """A script for gnuplot, whose points stand side by side and are named."""

    def __init__(self, title, quantity, axis, labels):
        self.title = title
        self.lines = [
            "set terminal svg size 380,310 font 'sans,13' dynamic",
            f"set border 3 lc rgb '{FAINT}'", "set tics nomirror", f"set grid ytics lt 1 lw 1 lc rgb '{FAINT}'",
            f"set ytics textcolor rgb '{INK}'", f"set key noenhanced textcolor rgb '{INK}'",
            f"set ylabel {quoted(quantity)} textcolor rgb '{INK}' noenhanced",
            f"set xlabel {quoted(axis)} textcolor rgb '{INK}' noenhanced",
            f"set xrange [-0.6:{len(labels) - 0.4}]",
            f"set xtics noenhanced textcolor rgb '{INK}' (" + ", ".join(
                f"{quoted(label)} {number}" for number, label in enumerate(labels)) + ")",
        ]
        self.curves, self.has_points = [], False

    def add(self, rows, how):
        """A curve of rows of numbers, x first."""
        if rows:
            name = f"$data{len(self.curves)}"
            text = "\n".join(" ".join(map(str, row)) for row in rows)
            self.lines.append(f"{name} << end\n{text}\nend")
            self.curves.append(f"{name} {how}")

    def figure(self, number, caption):
        if not self.curves:
            return ""
        svg = draw("\n".join([*self.lines, "plot " + ", ".join(self.curves)]) + "\n")
        return (f"<figure>{inline(svg, number, self.title)}<figcaption>{html.escape(caption)}</figcaption>"
                "</figure>\n")


def inline(svg, number, title):
    """gnuplot's file as a part of a page: names that are its own, colours of the page."""
    svg = re.sub(r"<\?xml.*?\?>|<title>.*?</title>|<desc>.*?</desc>", "", svg, flags=re.S).strip()
    svg = re.sub(r"""\bid=(['"])""", rf"id=\1c{number}-", svg)
    svg = re.sub(r"""href=(['"])#""", rf"href=\1#c{number}-", svg)
    names = {INK: "--ink", FAINT: "--faint"} | {line: f"--line{n}" for n, line in enumerate(LINES)}
    for colour, name in names.items():
        red, green, blue = (int(colour[at:at + 2], 16) for at in (1, 3, 5))
        svg = re.sub(rf"rgb\(\s*{red},\s*{green},\s*{blue}\)", f"var({name})", svg)
    # Black is what gnuplot draws texts with, white what it puts behind points on a line.
    svg = svg.replace('color="black"', 'color="var(--ink)"').replace("color='white'", "color='var(--card)'")
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


def efficiency_chart(figures, series):
    rows = figures.rows[series.name]
    chart = Chart(f"{series.name}: efficiency", "efficiency, %", series.axes, [row.label for row in rows])
    place = {row.label: number for number, row in enumerate(rows)}

    def spread(row):
        return [100 * value for value in (row.efficiency.median, row.efficiency.low, row.efficiency.high)]

    measured = [[place[row.label], *spread(row)] for row in rows if row.efficiency]
    ceiling = [[place[label], *spread(row)] for label, row in figures.independent[series.name].items()
               if row.efficiency]
    plan = [[place[row.label], 100 * row.plan_efficiency] for row in rows if row.plan_efficiency]
    values = [value for row in [*measured, *ceiling, *plan] for value in row[1:]] + [100]
    values += [100 * series.goal] if series.goal else []
    low, high = max(0, 10 * (min(values) // 10) - 10), 10 * (max(values) // 10) + 10
    chart.lines += [f"set yrange [{low}:{high}]", "set key outside top center horizontal samplen 1.5"]
    if measured and series.goal:
        chart.add([[-0.6, 100 * series.goal], [len(rows) - 0.4, 100 * series.goal]],
                  f"with lines lw 1.5 dt 2 lc rgb '{LINES[2]}' title 'goal'")
    if measured:
        chart.add(plan, f"with linespoints pt 2 lw 1.5 dt 4 lc rgb '{LINES[3]}' title 'plan'")
    chart.add([[x + 0.08, *rest] for x, *rest in ceiling],
              f"with yerrorbars pt 5 ps 0.6 lw 1.5 lc rgb '{LINES[1]}' title 'no exchange'")
    chart.add(measured, f"with yerrorlines pt 7 ps 0.7 lw 2 lc rgb '{LINES[0]}' title 'measured'")
    return chart, "Images/s a core, against the first point. Bars: smallest and largest of the measurements."


def exposed_chart(figures, series):
    rows = [row for row in figures.rows[series.name] if row.step]
    chart = Chart(f"{series.name}: exposed communication", "exposed communication, ms a step", series.axes,
                  [row.label for row in rows])
    plan = [[x + 0.3, row.plan["exposedCommunicationMilliseconds"]] for x, row in enumerate(rows) if row.plan]
    top = max([0, *(row.exposed for row in rows), *(value for _, value in plan)]) or 1
    chart.lines += [f"set yrange [0:{1.25 * top}]", "set boxwidth 0.4",
                    "set style fill solid noborder", "set key outside top center horizontal"]
    chart.add([[x, row.exposed] for x, row in enumerate(rows)], f"with boxes lc rgb '{LINES[0]}' notitle")
    chart.add(plan, f"with points pt 2 lw 2 lc rgb '{LINES[3]}' title 'plan'")
    chart.add([[x, row.exposed, f'"{100 * row.exposed_share:.2g} %"'] for x, row in enumerate(rows)],
              f"with labels offset 0,0.8 noenhanced textcolor rgb '{INK}' notitle")
    return chart, "What the slowest rank only waited for others; above the bars its share of the step. Medians."


def kinds_chart(figures, series):
    rows = []
    for row in figures.rows[series.name]:
        rows += [one for one in (row, figures.independent[series.name].get(row.label)) if one and one.breakdown]
    chart = Chart(f"{series.name}: time of a step by kind", "ms a step", series.axes,
                  [row.label for row in rows])
    # What is below one in a hundred everywhere would only fill the key.
    shown = [kind for kind in KINDS if any(
        row.breakdown.get(kind, 0) > 0.01 * sum(row.breakdown.values()) for row in rows)]
    top = max([sum(row.breakdown.values()) for row in rows], default=1)
    chart.lines += ["set key outside right top reverse Left samplen 1 invert", f"set yrange [0:{1.05 * top}]",
                    "set boxwidth 0.6", "set style fill solid noborder"]
    rest = [sum(value for kind, value in row.breakdown.items() if kind not in shown) for row in rows]
    parts = [("small kinds", "#6b7280", rest)] if any(value > 0.001 * top for value in rest) else []
    parts += [(kind, KINDS[kind], [row.breakdown.get(kind, 0) for row in rows]) for kind in shown]
    # The whole first, the parts over it: each is drawn down to the axis.
    heights = [sum(values) for values in zip(*(values for *_, values in parts))] if parts else []
    for name, colour, values in reversed(parts):
        chart.add([[x, height] for x, height in enumerate(heights)],
                  f"with boxes lc rgb '{colour}' title {quoted(name)}")
        heights = [height - value for height, value in zip(heights, values)]
    note = ", alone: without exchange" if figures.independent[series.name] else ""
    return chart, f"Of rank 0, averaged; \"other\" has its waiting for the exchange{note}."


def percent(spread):
    if spread is None:
        return "-"
    return f"{100 * spread.median:.1f} % ({100 * spread.low:.1f} to {100 * spread.high:.1f})"


def table(figures, series):
    head = [series.axes, "images/s", "efficiency", "of no exchange", "step", "exposed", "plan", "note", "what runs"]
    body = []
    for row in [*figures.rows[series.name], *figures.independent[series.name].values()]:
        notes = ["oversubscribed"] if row.is_oversubscribed else []
        notes += [f"failed: {row.error}"] if row.error else []
        notes += [f"{len(row.records)} of {figures.sweep.repeats} measurements"] \
            if len(row.records) < figures.sweep.repeats else []
        body.append([
            row.label, f"{row.rate.median:.3g} ({row.rate.low:.3g} to {row.rate.high:.3g})" if row.rate else "-",
            percent(row.efficiency), percent(row.of_independent), f"{row.step:.0f} ms" if row.step else "-",
            f"{row.exposed:.1f} ms, {100 * row.exposed_share:.1f} %" if row.step else "-",
            f"{100 * row.plan_efficiency:.1f} %" if row.plan_efficiency else "-", "; ".join(notes),
            f"{row.point.text()}, {row.launcher}"])
    return html_table(head, body)


def html_table(head, body):
    def line(tag, cells):
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = "\n".join(line("td", cells) for cells in body)
    return f'<div class="wide"><table>\n<thead>{line("th", head)}</thead>\n<tbody>\n{rows}\n</tbody></table></div>\n'


def section(figures, series, number):
    text = {"weak": "weak scaling: the same images a rank at each point",
            "strong": "strong scaling: the same images a step at each point"}[series.kind]
    if series.goal is not None:
        text += f"; {figures.verdict(series)[1]}"
    parts = [f"<section>\n<h2>{html.escape(series.name)}</h2>\n<p>{html.escape(text)}</p>\n", '<div class="cards">\n']
    try:
        for place, make in enumerate((efficiency_chart, exposed_chart, kinds_chart)):
            chart, caption = make(figures, series)
            parts.append(chart.figure(10 * number + place, caption))
    except Failure as failure:
        parts.append(f"<p>Charts are left out: {html.escape(str(failure))}</p>")
    return "".join([*parts, "</div>\n", table(figures, series), "</section>\n"])


def page(figures, title, facts, remarks):
    content = "".join(section(figures, series, number) for number, series in enumerate(figures.sweep.series))
    summary = html_table(["series", "kind", "verdict"], [
        [series.name, series.kind, figures.verdict(series)[1]] for series in figures.sweep.series])
    paragraphs = "".join(f"<p>{html.escape(text)}</p>\n" for text in [facts, *remarks])
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            f"<h1>{html.escape(title)}</h1>\n{paragraphs}{summary}{content}</body>\n</html>\n")
