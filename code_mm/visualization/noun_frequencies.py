"""How often are which things named? A bar chart."""

from collections.abc import Mapping

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_COLOUR = '#3b6ea8'


def draw_noun_frequencies(
    counts: Mapping[str, int], num_captions: int, number: int = 40
) -> np.ndarray:
    """Draw the most frequent nouns as bars, the most frequent one on top.

    Args:
        counts (Mapping[str, int]): Noun -> captions that name it.
        num_captions (int): All captions, for the shares.
        number (int): Bars at most.

    Returns:
        np.ndarray: RGB uint8 picture (H, W, 3).

    Raises:
        ValueError: If there is no noun, or no caption.
    """
    if not counts or num_captions < 1:
        raise ValueError(f'expected nouns and captions, but got {len(counts)} and {num_captions}')
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]
    names, values = [name for name, _ in top], [value for _, value in top]
    figure = Figure(figsize=(7, 1.3 + 0.22 * len(top)), dpi=120, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # by position, since two nouns may look the same to matplotlib ($x$ is mathematics)
    bars = axes.barh(range(len(top)), values, color=_COLOUR)
    labels = [name if len(name) <= 30 else f'{name[:29]}…' for name in names]
    axes.set_yticks(range(len(top)), [label.replace('$', r'\$') for label in labels], fontsize=9)
    shares = [f' {value:,} ({value / num_captions:.1%})' for value in values]
    axes.bar_label(bars, shares, fontsize=8)
    axes.set_xlim(0, max(values) * 1.25)  # room for the labels
    axes.set_ylim(len(top) - 0.4, -0.6)  # the first bar on top
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel(f'captions that name it, of {num_captions:,}')
    axes.set_title(f'Most frequent of {len(counts):,} nouns', loc='left', fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
