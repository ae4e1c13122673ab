"""From a drawing to SVG and PNG: deterministic bytes, one ink that the page can recolour, a title and a description.

Only matplotlib's object interface with Agg is used, not pyplot, so there are no global figures. Its settings hold only within a
drawing. No text is read as mathematics: a class called `$x$` is printed as such and cannot break a figure. Text stays text in the
SVG, so that it can be searched and read aloud.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

INK = "#24292f"
"""Text, axes and whiskers: `currentColor` on the page."""
PAPER = "#ffffff"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#e69f00", "#009e73", "#8b949e"
"""Okabe and Ito's colours, which people with any common form of colour blindness can tell apart, and a grey."""

PNG_DOTS_PER_INCH = 160
MAX_COLUMNS = 4
MAX_LABEL = 24
MAX_UPRIGHT = 10

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "fedcli",
    "text.parse_math": False,
    "text.usetex": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
_NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SVG = re.compile(r"<svg\b[^>]*>.*</svg>", re.DOTALL)
_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_TIP = "tip: "
_TIPPED = re.compile(f'<g id="{_TIP}([^"]*)">')
_REFERENCE = re.compile(r'(\bid="|url\(#|xlink:href="#)')
# DejaVu is matplotlib's own font; Verdana has its widths.
_FONTS = ("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Illustration:
    """One figure.

    Attributes:
        name: Its file's stem.
        title: What it is.
        description: What it shows, for people who cannot see it.
        svg: A standalone SVG file, on white.
        inline: The same for an HTML page: transparent, in the page's own text colour, its identifiers unique to it.
        png: The same as PNG, on white.
    """

    name: str
    title: str
    description: str
    svg: str
    inline: str
    png: bytes


def illustrate(name: str, title: str, description: str, draw: Callable[[], Figure]) -> Illustration:
    """Draw and save under the report's settings."""
    with mpl.rc_context(), warnings.catch_warnings():
        # DejaVu lacks some scripts: names in them are still text in the SVG, and empty boxes in the PNG.
        warnings.filterwarnings("ignore", message="Glyph")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        figure = draw()
        vector, raster = io.BytesIO(), io.BytesIO()
        figure.savefig(vector, format="svg", transparent=True, metadata=_NO_METADATA)
        figure.set_layout_engine("none")  # the second file keeps the layout of the first
        figure.savefig(raster, format="png", facecolor=PAPER, dpi=PNG_DOTS_PER_INCH, metadata={"Software": None})
    body = _described(vector.getvalue().decode(), name, title, description)
    standalone = body.replace("</desc>", f'</desc>\n <rect width="100%" height="100%" fill="{PAPER}"/>', 1)
    return Illustration(
        name=name,
        title=title,
        description=description,
        svg=f'<?xml version="1.0" encoding="utf-8"?>\n{standalone}\n',
        inline=body.replace(INK, "currentColor"),
        png=raster.getvalue(),
    )


def tip(artist: Artist, text: str) -> None:
    """Show a text when the pointer hovers over a mark: its `title` in the SVG."""
    artist.set_gid(_TIP + text)


def panels(num: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with `num` equal panels that share their axes, in rows of at most four; sizes in inches."""
    columns = min(num, MAX_COLUMNS)
    rows = -(-num // columns)
    figure = Figure(figsize=(max(columns * width, 6.6), rows * height + 0.8), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = [*grid.flat]
    for unused in axes[num:]:
        unused.remove()
    for lowest in axes[max(0, num - columns) : num]:
        lowest.tick_params(labelbottom=True)
    return figure, axes[:num]


def label(text: str) -> str:
    """Return a name that fits an axis: on one line, cut in the middle, as names mostly differ at their ends."""
    line = " ".join(text.split()) or "?"
    half = MAX_LABEL // 2
    return line if len(line) <= MAX_LABEL else f"{line[: half - 1]}…{line[-half:]}"


def name_sites(axes: Axes, sites: Sequence[str]) -> None:
    """Write the sites' names under groups of bars at 0, 1, 2 …, slanted where they would overlap."""
    names = [label(site) for site in sites]
    slanted = max(map(len, names)) > MAX_UPRIGHT
    axes.set_xticks(
        range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center", rotation_mode="anchor"
    )
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="x", length=0)


def _described(document: str, name: str, title: str, description: str) -> str:
    """Return the `svg` element with its title and description, and with identifiers that are unique on a page."""
    match = _SVG.search(document)
    if match is None:
        msg = "matplotlib wrote no svg element"
        raise RuntimeError(msg)
    svg = _TIPPED.sub(r"<g><title>\1</title>", _METADATA.sub("", match[0]))
    svg = _REFERENCE.sub(rf"\g<1>{name}-", svg).replace(*_FONTS).replace("*{stroke", f"#{name} *{{stroke")
    opening, _, rest = svg.partition(">")
    opening += f' id="{name}" role="img" aria-labelledby="{name}-title {name}-description"'
    head = f'<title id="{name}-title">{escape(title)}</title>\n <desc id="{name}-description">{escape(description)}</desc>'
    return _NOT_XML.sub("\ufffd", f"{opening}>\n {head}{rest}")
