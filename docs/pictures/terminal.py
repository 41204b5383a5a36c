"""Draws what a terminal shows: a command's output, or a recording of it in time.

A recording is an asciicast of version 2, as docs/pictures/record.py writes it.
"""

import json
import re
from xml.sax.saxutils import escape

# The size of a cell, and of the space around the text, in pixels.
CELL_WIDTH, ROW_HEIGHT, FONT_SIZE, MARGIN = 7.2, 17, 12, 14
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,Liberation Mono,monospace"
# Changes that are closer together than this, in seconds, are shown as one.
INSTANT = 0.05
# How long the end of a recording stays before it begins again, in seconds.
REST = 10
# The numbers of colours, and the keys of a theme that stand for them.
COLOURS = {"31": "dead_line", "32": "node_line", "33": "warn", "36": "moved", "90": "faint"}
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])|[\r\n]|[^\x00-\x1f\x7f]")
UNFINISHED = re.compile(r"\x1b(\[[0-9;]*)?$")


class Recording:
    """What stood in each row of a terminal, and from when to when."""

    def __init__(self, columns):
        self.columns, self.now, self.colour = columns, 0.0, None
        self.rows, self.row, self.column = [[]], 0, 0
        # The beginning of a control sequence whose end has not been written yet.
        self.pending = ""
        # One list for each row: since when, and the runs of its text.
        self.versions = [[(0.0, ())]]
        # Since when there are how many rows.
        self.heights = [(0.0, 1)]

    def write(self, now, data):
        """Takes what a program wrote at this time; a ValueError says what cannot be drawn."""
        self.now, data = now, self.pending + data
        self.pending, at = "", 0
        while at < len(data):
            match = SEQUENCE.match(data, at)
            if match is None and UNFINISHED.match(data, at):
                self.pending = data[at:]
                return
            if match is None:
                raise ValueError(f"the control sequence at {data[at:at + 12]!r} is not known")
            self._take(match)
            at = match.end()

    def _take(self, match):
        if match.group(2) == "m":
            code = match.group(1) or "0"
            if code != "0" and code not in COLOURS:
                raise ValueError(f"the colour {code} is not known")
            self.colour = COLOURS.get(code)
        elif match.group(2) == "K" and match.group(1) == "2":
            self.rows[self.row] = []
            self._note()
        elif match.group(2) is not None:
            raise ValueError(f"the control sequence {match.group()!r} is not known")
        elif match.group() == "\r":
            self.column = 0
        elif match.group() == "\n":
            self._next_row()
        else:
            self._put(match.group())

    def _next_row(self):
        self.row += 1
        self.column = 0
        if self.row == len(self.rows):
            self.rows.append([])
            self.versions.append([(0.0, ())])
            self.heights.append((self.now, len(self.rows)))

    def _put(self, character):
        if self.column == self.columns:
            self._next_row()
        row = self.rows[self.row]
        row.extend([(" ", None)] * (self.column + 1 - len(row)))
        row[self.column] = (character, self.colour)
        self.column += 1
        self._note()

    def _note(self):
        """Keeps what the row shows now in place of what it showed an instant ago."""
        versions, runs = self.versions[self.row], runs_of(self.rows[self.row])
        if versions[-1][0] > self.now - INSTANT:
            versions.pop()
        if not versions or versions[-1][1] != runs:
            versions.append((self.now, runs))

    def lines(self):
        """Each text that was shown: its row, its runs, since when, and until when if it went."""
        for row, versions in enumerate(self.versions):
            ends = [since for since, _ in versions[1:]] + [None]
            for (since, runs), until in zip(versions, ends, strict=True):
                if runs:
                    yield row, runs, since, until


def runs_of(cells):
    """Cells as texts of one colour each, without the spaces at the end."""
    runs = []
    for character, colour in cells:
        if runs and runs[-1][1] == colour:
            runs[-1][0] += character
        else:
            runs.append([character, colour])
    while runs and not runs[-1][0].rstrip():
        runs.pop()
    if runs:
        runs[-1][0] = runs[-1][0].rstrip()
    return tuple((text, colour) for text, colour in runs)


def row_of(runs, row, theme):
    """One row of text, as wide as its cells are."""
    width = sum(len(text) for text, _ in runs) * CELL_WIDTH
    spans = "".join(
        f'<tspan fill="{theme[colour]}">{escape(text)}</tspan>' if colour else escape(text)
        for text, colour in runs
    )
    return f'<text y="{row * ROW_HEIGHT + FONT_SIZE}" textLength="{width:g}">{spans}</text>\n'


def frame(title, columns, rows, theme, style=""):
    """The beginning of a picture: a window of so many cells."""
    width, height = round(columns * CELL_WIDTH) + 2 * MARGIN, rows * ROW_HEIGHT + 2 * MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="{FONT}" font-size="{FONT_SIZE}" '
        'xml:space="preserve">\n'
        f"<title>{escape(title)}</title>\n<style>text{{white-space:pre}}{style}</style>\n"
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="6" '
        f'fill="{theme["box"]}" stroke="{theme["line"]}"/>\n'
        f'<svg x="{MARGIN}" y="{MARGIN}" width="{width - 2 * MARGIN}" '
        f'height="{height - 2 * MARGIN}" fill="{theme["text"]}">\n'
    )


def marked(line, marks):
    """A line as runs: each of these texts in its colour."""
    if not marks:
        return [(line, None)] if line else []
    parts = re.split("(" + "|".join(re.escape(text) for text in marks) + ")", line)
    return [(part, marks.get(part)) for part in parts if part]


def still(title, lines, theme):
    """Rows of text, each a list of runs."""
    columns = max(sum(len(text) for text, _ in runs) for runs in lines)
    rows = "".join(row_of(runs, row, theme) for row, runs in enumerate(lines) if runs)
    return f"{frame(title, columns, len(lines), theme)}{rows}</svg>\n</svg>\n"


def read(path):
    """The header of an asciicast and what it records; a ValueError says what is wrong."""
    head, *events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if head.get("version") != 2 or not {"width", "height", "title"} <= head.keys():
        raise ValueError("it is not an asciicast of version 2 with a title")
    recording = Recording(head["width"])
    for now, kind, data in events:
        if kind == "o":
            recording.write(now, data)
    return head, recording


def film(head, recording, theme):
    """A recording as it was in time. It begins again after a rest at its end; where the reader
    prefers no motion, it shows its end."""
    total = recording.now + REST
    rules, parts, spans = [], [], {}
    for row, runs, since, until in recording.lines():
        spans.setdefault((since, until), []).append(row_of(runs, row, theme))
    for number, ((since, until), rows) in enumerate(sorted(
        spans.items(), key=lambda item: (item[0][0], item[0][1] or total)
    )):
        steps = [(0, "hidden")] if since else []
        steps += [(since, "visible")] + ([(until, "hidden")] if until else [])
        shown = "".join(f"{at / total:.3%}{{visibility:{what}}}" for at, what in steps)
        hidden = "visibility:hidden;" if until else ""
        rules.append(f"@keyframes k{number}{{{shown}}}")
        rules.append(f".k{number}{{{hidden}animation-name:k{number}}}")
        parts.append(f'<g class="k{number}">\n{"".join(rows)}</g>\n')
    above = [(since, rows - head["height"]) for since, rows in recording.heights]
    above = [(since, rows) for since, rows in above if rows > 0]
    shifts = [f"{since / total:.3%}{{transform:translateY({-rows * ROW_HEIGHT}px)}}"
              for since, rows in [(0.0, 0), *above]]
    end = above[-1][1] if above else 0
    style = (
        f"g{{animation:{total:.2f}s step-end infinite}}"
        f"@keyframes s{{{''.join(shifts)}}}"
        f".s{{transform:translateY({-end * ROW_HEIGHT}px);animation-name:s}}{''.join(rules)}"
        "@media(prefers-reduced-motion:reduce){g{animation:none!important}}"
    )
    return (
        f"{frame(head['title'], head['width'], head['height'], theme, style)}"
        f'<g class="s">\n{"".join(parts)}</g>\n</svg>\n</svg>\n'
    )
