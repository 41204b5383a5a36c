#!/usr/bin/env python3
"""Draws the pictures of the documentation from the data beside this script, for light and dark.

    docs/pictures/draw.py                  # writes NAME-light.svg and NAME-dark.svg for each
                                           # NAME.json, and for each recording NAME.cast
    docs/pictures/draw.py --check          # fails if one differs from what would be written
    docs/pictures/draw.py X.cast           # draws this recording only, beside it

The times in a picture are the defaults of docs/config.md, which a test compares with the program;
the bill is that of docs/costs.md; the status is in tests/golden, which tests compare with the
program's output. docs/pictures/record.py makes recordings, docs/pictures/dashboard.py takes the
dashboard's values.
Exit status: 0 done, 1 a picture is out of date or cannot be drawn, 2 wrong usage.
"""

import json
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import dashboard
import terminal

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent / "config.md"
COSTS = HERE.parent / "costs.md"
GOLDEN = HERE.parent.parent / "tests" / "golden"
BOX_HEIGHT = 34
LANE_HEIGHT = 30

THEMES = {
    "light": {
        "text": "#1f2328", "faint": "#59636e", "line": "#818b98", "box": "#f6f8fa",
        "node": "#dafbe1", "node_line": "#1a7f37", "dead": "#ffebe9", "dead_line": "#cf222e",
        "moved": "#0969da", "wait": "#eaeef2", "act": "#ddf4ff",
        "warn": "#9a6700",
        "series": ["#1a7f37", "#0969da", "#bc4c00", "#8250df", "#bf3989", "#57606a"],
    },
    "dark": {
        "text": "#f0f6fc", "faint": "#9198a1", "line": "#656c76", "box": "#151b23",
        "node": "#12261e", "node_line": "#3fb950", "dead": "#25171c", "dead_line": "#f85149",
        "moved": "#4493f8", "wait": "#262c36", "act": "#121d2f",
        "warn": "#d29922",
        "series": ["#3fb950", "#4493f8", "#f0883e", "#a371f7", "#f778ba", "#9198a1"],
    },
}


def head(data, theme):
    """The beginning of a picture: its size, its title, its markers and its hatching."""
    width, height = data["width"], data["height"]
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="{theme[colour]}"/></marker>\n'
        for name, colour in [("way", "line"), ("moved", "moved")]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="13">\n'
        f"<title>{escape(data['title'])}</title>\n<defs>\n{markers}"
        '<pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><rect width="8" height="8" fill="{theme["wait"]}"/>'
        f'<rect width="3" height="8" fill="{theme["line"]}"/></pattern>\n</defs>\n'
    )


def text(x, y, words, colour, anchor="middle", size=None):
    """One line of text; none for no words."""
    if not words:
        return ""
    size = f' font-size="{size}"' if size else ""
    return f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}"{size}>{escape(words)}</text>\n'


def box(spec, theme, dx):
    """A box with its label."""
    style = spec.get("style")
    fill = theme[style] if style else theme["box"]
    line = theme[f"{style}_line"] if style else theme["line"]
    dashes = ' stroke-dasharray="5 4"' if style == "dead" else ""
    x, y, width = spec["x"] + dx, spec["y"], spec["w"]
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" '
        f'stroke="{line}"{dashes}/>\n'
        + text(x + width / 2, y + 22, spec["label"], theme["text"])
    )


def ends(start, end, dx):
    """Where a line between two boxes begins and ends: at their sides or at top and bottom."""
    if start["y"] == end["y"]:
        y = start["y"] + BOX_HEIGHT / 2
        return start["x"] + start["w"] + dx, y, end["x"] + dx, y
    x1, x2 = start["x"] + start["w"] / 2 + dx, end["x"] + end["w"] / 2 + dx
    if start["y"] > end["y"]:
        return x1, start["y"], x2, end["y"] + BOX_HEIGHT
    return x1, start["y"] + BOX_HEIGHT, x2, end["y"]


def line(spec, boxes, theme, dx):
    """A line between two boxes: the way of packets, one that moved, or heartbeats."""
    x1, y1, x2, y2 = ends(boxes[spec["from"]], boxes[spec["to"]], dx)
    style = spec["style"]
    looks = {
        "way": f'stroke="{theme["line"]}" stroke-width="1.5" marker-end="url(#way)"',
        "moved": f'stroke="{theme["moved"]}" stroke-width="2.5" marker-end="url(#moved)"',
        "beat": f'stroke="{theme["line"]}" stroke-dasharray="4 3" marker-start="url(#way)" '
                'marker-end="url(#way)"',
    }[style]
    drawn = f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {looks}/>\n'
    if y1 == y2:
        return drawn + text((x1 + x2) / 2, y1 - 8, spec.get("label"), theme["faint"], size=12)
    middle = (y1 + y2) / 2 + 4
    return drawn + text(x1 + 8, f"{middle:g}", spec.get("label"), theme["faint"], "start", 12)


def topology(data, theme):
    """Panels of boxes and lines."""
    drawn = head(data, theme)
    for panel in data["panels"]:
        boxes, dx = panel["boxes"], panel["x"]
        drawn += "".join(line(spec, boxes, theme, dx) for spec in panel["lines"])
        drawn += "".join(box(spec, theme, dx) for spec in boxes.values())
        drawn += text(dx + 200, 312, panel["caption"], theme["faint"])
    return drawn + "</svg>\n"


def defaults(names):
    """The defaults of these settings, as docs/config.md has them."""
    page = CONFIG.read_text(encoding="utf-8")
    found = {}
    for name in names:
        row = re.search(rf"^\| `{re.escape(name)}` \| `([^`]*)` \|", page, re.MULTILINE)
        if row is None:
            raise SystemExit(f"{CONFIG}: no row for {name}")
        found[name] = row.group(1)
    return found


def words(template, values):
    """A text with the settings' values put in."""
    return re.sub(r"\{([^}]*)\}", lambda match: values[match.group(1)], template)


def timeline(data, theme):
    """Lanes with spans, and marks above and below them."""
    values = defaults(data["settings"])
    interval = int(values["heartbeat.interval"].removesuffix("ms"))
    values["detection"] = f"{interval * int(values['heartbeat.lost_after'])} ms"
    fills = {
        "wait": theme["wait"], "act": theme["act"], "well": theme["node"], "lost": theme["dead"],
        "unknown": "url(#hatch)",
    }
    drawn = head(data, theme)
    bottom = data["lanes"][-1]["y"] + LANE_HEIGHT
    for mark in data["marks"]:
        x = mark["x"]
        drawn += f'<line x1="{x}" y1="70" x2="{x}" y2="{bottom + 8}" stroke="{theme["line"]}"/>\n'
        drawn += text(x, 60, mark["top"], theme["text"])
        drawn += text(x, bottom + 24, words(mark["below"], values), theme["faint"], size=12)
    for lane in data["lanes"]:
        drawn += text(175, lane["y"] + 20, lane["label"], theme["text"], "end")
    for span in data["spans"]:
        x, y = span["from"], data["lanes"][span["lane"]]["y"]
        width, style = span["to"] - x, span["style"]
        drawn += (
            f'<rect x="{x}" y="{y}" width="{width}" height="{LANE_HEIGHT}" '
            f'fill="{fills[style]}" stroke="{theme["line"]}"/>\n'
        )
        label = span["label"]
        if style == "unknown":
            drawn += (
                f'<rect x="{x + width / 2 - 38:g}" y="{y + 6}" width="76" height="18" rx="4" '
                f'fill="{theme["box"]}"/>\n'
            )
        drawn += text(x + width / 2, y + 20, label, theme["text"], size=12)
    drawn += text(20, 25, data["note"], theme["faint"], "start", 12)
    return drawn + "</svg>\n"


def bill():
    """The rows of the worked bill in docs/costs.md: what, and what each of both pays, in USD."""
    page = COSTS.read_text(encoding="utf-8")
    section = page.split("\n## A worked bill\n")[1].split("\n## ")[0]
    rows = []
    for line in section.splitlines():
        cells = [cell.strip().replace("*", "") for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "a month, in USD":
            amounts = [0.0 if cell == "–" else float(cell.replace(",", "")) for cell in cells[1:]]
            rows.append((cells[0], amounts))
    *parts, (what, totals) = rows
    for column, total in enumerate(totals):
        added = sum(amounts[column] for _, amounts in parts)
        if what != "total" or abs(added - total) > 0.005:
            raise SystemExit(f"{COSTS}: the bill adds up to {added:.2f}, not to {total:.2f}")
    return parts, totals


def saving(data, theme):
    """One bar for each of both, as long as its bill."""
    parts, totals = bill()
    fills = [theme["wait"], theme["dead"], theme["act"], theme["act"]]
    drawn = head(data, theme)
    for column, bar in enumerate(data["bars"]):
        x = data["left"]
        drawn += text(x - 12, bar["y"] + 22, bar["label"], theme["text"], "end")
        for (_, amounts), fill in zip(parts, fills, strict=True):
            width = round(amounts[column] * data["scale"], 1)
            if width:
                drawn += (
                    f'<rect x="{x:g}" y="{bar["y"]}" width="{width:g}" height="{BOX_HEIGHT}" '
                    f'fill="{fill}" stroke="{theme["line"]}"/>\n'
                )
            x = round(x + width, 1)
        total = f"{totals[column]:,.0f} USD"
        drawn += text(f"{x + 8:g}", bar["y"] + 22, total, theme["text"], "start")
    hours, processed = (amounts[0] for _, amounts in parts[:2])
    note = f"a month; NAT gateways: {hours:,.0f} USD for hours, {processed:,.0f} USD for gigabytes"
    return drawn + text(data["left"], 140, note, theme["faint"], "start", 12) + "</svg>\n"


def status(data, theme):
    """What a command printed, once for each panel, with some of its words coloured."""
    lines = []
    for panel in data["panels"]:
        printed = (GOLDEN / panel["golden"]).read_text(encoding="utf-8").split("---\n", 2)[2]
        missing = [mark for mark in panel["marks"] if mark not in printed]
        if missing:
            raise SystemExit(f"{GOLDEN / panel['golden']} has no {', '.join(missing)}")
        command = [(f"$ {data['command']}  ", None), (f"# {panel['comment']}", "faint")]
        rows = [terminal.marked(line, panel["marks"]) for line in printed.splitlines()]
        lines += [command, *rows, []]
    return terminal.still(data["title"], lines[:-1], theme)


def drawings():
    """Each picture's path without its theme, and what draws it in a theme."""
    drawers = {
        "topology": topology, "timeline": timeline, "choose": topology, "saving": saving,
        "status": status, "dashboard": dashboard.draw,
    }
    for name, draw in drawers.items():
        data = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        yield HERE / name, lambda theme, draw=draw, data=data: draw(data, theme)
    for path in sorted(HERE.glob("*.cast")):
        yield recorded(path)


def recorded(path):
    """The same for a recording."""
    try:
        head, recording = terminal.read(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: {error}") from error
    return path.with_suffix(""), lambda theme: terminal.film(head, recording, theme)


def main(arguments):
    one = [Path(argument) for argument in arguments if argument.endswith(".cast")]
    if arguments != ["--check"] and len(arguments) != len(one) or len(one) > 1:
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for base, draw in map(recorded, one) if one else drawings():
        for theme, colours in THEMES.items():
            path, wanted = base.with_name(f"{base.name}-{theme}.svg"), draw(colours)
            if arguments != ["--check"]:
                path.write_text(wanted, encoding="utf-8")
            elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
                stale.append(path.name)
    if stale:
        print(f"out of date: {', '.join(stale)}; run docs/pictures/draw.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
