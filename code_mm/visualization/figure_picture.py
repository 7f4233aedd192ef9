"""Matplotlib figures as arrays, without a window and without pyplot's global state."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def figure_picture(figure: Figure) -> np.ndarray:
    """Render a figure.

    Returns:
        np.ndarray: (h, w, 3) uint8 RGB.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
