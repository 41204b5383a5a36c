#!/usr/bin/env python3
"""Draws the dashboard of Grafana as the panels showed a takeover in the lab.

    docs/pictures/dashboard.py --take FILE   # keeps what the lab's test wrote: target/dashboard.json
                                             # of tests/lab_metrics.rs, as dashboard.json beside this

Grafana itself draws more. Titles, kinds, places, units and legends are those of
observability/grafana-dashboard.json, the values those that a Prometheus returned for its
expressions. draw.py draws the pictures from both files.
Exit status: 0 done, 2 wrong usage.
"""

import json
import math
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
DATA = HERE / "dashboard.json"
DASHBOARD = HERE.parent.parent / "observability" / "grafana-dashboard.json"

# The rows of the dashboard that the picture has, and how many lines of panels of each.
ROWS = {"Now": 1, "Who serves what": 1, "Traffic": 1, "Who uses the gigabytes": 1, "Failover": 1}
# A series has at most so many points, and a panel at most so many series.
POINTS = 60
SERIES = 6

COLUMN, UNIT_HEIGHT, GAP, HEAD = 40, 24, 8, 22
STATES = {"red": "dead", "green": "node", "orange": "wait", "blue": "act"}


def panels():
    """The panels of the picture: those of the dashboard, moved up to close the gaps."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found, top, row, lines = [], 0, None, []
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            row, lines = panel["title"], []
            continue
        if row not in ROWS:
            continue
        if place["y"] not in lines:
            lines.append(place["y"])
            if len(lines) > ROWS[row]:
                continue
            line_top, top = top, top + place["h"]
        elif len(lines) > ROWS[row]:
            continue
        found.append((panel, line_top))
    return found, top


def legend(panel, target, labels):
    """The name of a series, as Grafana fills in the legend of its expression."""
    form = panel["targets"][target].get("legendFormat", "__auto")
    if form == "__auto":
        return ", ".join(labels.values())
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match.group(1), ""), form)


def take(path):
    """Keeps what the picture needs of what the lab's test wrote."""
    shown = json.loads(Path(path).read_text(encoding="utf-8"))
    kept = {}
    for panel, _ in panels()[0]:
        of_it = [one["series"] for one in shown if one["title"] == panel["title"]]
        series = []
        for target, found in enumerate(of_it):
            for one in found:
                points = [[float(at), float(value)] for at, value in one["values"]]
                points = [point for point in points if math.isfinite(point[1])]
                series.append([legend(panel, target, one["metric"]), points])
        kept[panel["title"]] = [one for one in series if one[1]]
    times = [at for series in kept.values() for _, points in series for at, _ in points]
    first, last = min(times), max(times)
    for series in kept.values():
        for one in series:
            step = max(1, math.ceil(len(one[1]) / POINTS))
            thin = one[1][::-1][::step][::-1]
            one[1] = [[round(at - first, 1), float(f"{value:.4g}")] for at, value in thin]
    for title, series in kept.items():
        series.sort(key=lambda one: -max(value for _, value in one[1]))
        kept[title] = series[:SERIES]
    kept = {"seconds": round(last - first, 1), "panels": kept}
    DATA.write_text(json.dumps(kept, separators=(",", ":")) + "\n", encoding="utf-8")


def number(value, unit):
    """A value with its unit, short."""
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    for size, prefix in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if value >= size:
            value, suffix = value / size, f" {prefix}"
            break
    else:
        suffix = " " if unit in ("Bps", "bytes") else ""
    names = {"Bps": "B/s", "pps": "/s", "bytes": "B"}
    return f"{value:.3g}{suffix}{names.get(unit, '')}".strip()


def text(x, y, words, colour, size=11, anchor="start", weight=None):
    weight = f' font-weight="{weight}"' if weight else ""
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" font-size="{size}" text-anchor="{anchor}"'
        f"{weight}>{escape(words)}</text>\n"
    )


def cut(words, width, size=11):
    """Words that fit into a width, with an ellipsis where they do not."""
    most = int(width / (size * 0.56))
    return words if len(words) <= most else words[: max(most - 1, 1)] + "…"


def state(panel, value):
    """The words and the colour of a value, by the mappings and thresholds of its panel."""
    defaults = panel["fieldConfig"]["defaults"]
    colour = "blue"
    for step in defaults.get("thresholds", {}).get("steps", []):
        if step["value"] is None or value >= step["value"]:
            colour = step["color"]
    words = number(value, defaults.get("unit"))
    for mapping in defaults.get("mappings", []):
        of_it = mapping["options"].get(f"{value:g}")
        if of_it:
            words, colour = of_it["text"], of_it["color"]
    return words, STATES[colour]


def stat(panel, series, box, theme):
    """The last value of each series, on the colour of its state."""
    x, y, width, height = box
    drawn, each = "", width / max(len(series), 1)
    for place, (name, points) in enumerate(series):
        words, style = state(panel, points[-1][1])
        left = x + place * each
        drawn += (
            f'<rect x="{left + 3:g}" y="{y:g}" width="{each - 6:g}" height="{height - 4:g}" rx="4" '
            f'fill="{theme[style]}" stroke="{theme.get(style + "_line", theme["line"])}"/>\n'
        )
        middle = left + each / 2
        size = min(20, int(each / (0.62 * len(words))))
        drawn += text(middle, y + height / 2 + 2, words, theme["text"], size, "middle")
        drawn += text(middle, y + height - 14, cut(name, each, 10), theme["faint"], 10, "middle")
    return drawn


def timeline(panel, series, box, theme, colours, seconds):
    """A bar for each series, where it has a value."""
    x, y, width, height = box
    names = width * 0.36
    each = min(height / max(len(series), 1), 30)
    scale = (width - names - 6) / seconds
    drawn = ""
    for place, (name, points) in enumerate(sorted(series)):
        top = y + place * each
        drawn += text(x + names - 6, top + each / 2 + 4, cut(name, names, 10), theme["text"], 10, "end")
        step = min((b[0] - a[0] for a, b in zip(points, points[1:])), default=1) * 1.5
        spans = []
        for at, value in points:
            if value == 0:
                continue
            if spans and at - spans[-1][1] <= step:
                spans[-1][1] = at
            else:
                spans.append([at, at])
        for start, end in spans:
            drawn += (
                f'<rect x="{x + names + start * scale:.1f}" y="{top + 3:g}" '
                f'width="{max((end - start) * scale, 2):.1f}" height="{each - 6:g}" '
                f'fill="{colours[place % len(colours)]}"/>\n'
            )
    return drawn


def graph(panel, series, box, theme, colours, seconds):
    """Lines over time; bars where the panel has bars."""
    x, y, width, height = box
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit")
    rows = math.ceil(len(series) / 2)
    bottom = y + height - 14 * rows - 4
    left, right = x + 56, x + width - 6
    top = max((value for _, points in series for _, value in points), default=0) or 1
    scale_x, scale_y = (right - left) / seconds, (bottom - y - 8) / top
    drawn = ""
    for share in (0, 0.5, 1):
        line = bottom - share * top * scale_y
        drawn += (
            f'<line x1="{left}" y1="{line:.1f}" x2="{right}" y2="{line:.1f}" '
            f'stroke="{theme["line"]}" stroke-opacity="0.4"/>\n'
        )
        drawn += text(left - 4, line + 4, number(share * top, unit), theme["faint"], 9, "end")
    bars = defaults.get("custom", {}).get("drawStyle") == "bars"
    for place, (name, points) in enumerate(series):
        colour = colours[place % len(colours)]
        if bars:
            for at, value in points:
                if value > 0:
                    drawn += (
                        f'<rect x="{left + at * scale_x - 1:.1f}" '
                        f'y="{bottom - value * scale_y:.1f}" width="2.5" '
                        f'height="{value * scale_y:.1f}" fill="{colour}"/>\n'
                    )
        else:
            line = " ".join(
                f"{left + at * scale_x:.1f},{bottom - value * scale_y:.1f}" for at, value in points
            )
            drawn += f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>\n'
        column, row = place % 2, place // 2
        at_x, at_y = x + 8 + column * (width / 2), bottom + 14 * (row + 1)
        drawn += f'<rect x="{at_x:g}" y="{at_y - 7:g}" width="8" height="8" fill="{colour}"/>\n'
        drawn += text(at_x + 12, at_y, cut(name, width / 2 - 22, 10), theme["faint"], 10)
    return drawn


def table(series, box, theme):
    """The last values by host: bytes and connections, as the dashboard merges them."""
    x, y, width, _ = box
    merged = {}
    half = len(series) // 2 or 1
    for place, (name, points) in enumerate(series):
        merged.setdefault(name, {})[place // half] = points[-1][1]
    drawn = text(x + 8, y + 12, "host", theme["faint"])
    for place, (name, values) in enumerate(merged.items()):
        at = y + 34 + 20 * place
        drawn += text(x + 8, at, name, theme["text"])
        drawn += text(x + width - 8, at, number(max(values.values()), "bytes"), theme["text"],
                      anchor="end")
    return drawn + text(x + width - 8, y + 12, "bytes", theme["faint"], anchor="end")


def draw(data, theme):
    """The picture, for one of the themes of draw.py."""
    found, rows = panels()
    width, height = 24 * COLUMN + GAP, rows * UNIT_HEIGHT + GAP
    colours, seconds = theme["series"], data["seconds"]
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif">\n'
        "<title>The dashboard, while a node of the lab dies and returns</title>\n"
    )
    for panel, top in found:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN + GAP, top * UNIT_HEIGHT + GAP
        w, h = place["w"] * COLUMN - GAP, place["h"] * UNIT_HEIGHT - GAP
        drawn += (
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="{theme["box"]}" '
            f'stroke="{theme["line"]}" stroke-opacity="0.5"/>\n'
        )
        drawn += text(x + 8, y + 16, cut(panel["title"], w - 12, 12), theme["text"], 12, weight="bold")
        box = (x + 2, y + HEAD + 2, w - 4, h - HEAD - 6)
        series = data["panels"][panel["title"]]
        kind = panel["type"]
        if kind == "stat":
            drawn += stat(panel, series, box, theme)
        elif kind == "state-timeline":
            drawn += timeline(panel, series, box, theme, colours, seconds)
        elif kind == "table":
            drawn += table(series, box, theme)
        else:
            drawn += graph(panel, series, box, theme, colours, seconds)
    return drawn + "</svg>\n"


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--take":
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    take(sys.argv[2])
