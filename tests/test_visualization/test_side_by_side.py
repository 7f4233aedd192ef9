import numpy as np
import pytest

from code_mm.visualization import draw_side_by_side

CLASSES = ['background', 'circle', 'square']
PALETTE = [(0, 0, 0), (200, 0, 0), (0, 0, 200)]


def inputs():
    image = np.full((64, 64, 3), 100, np.uint8)
    truth = np.zeros((64, 64), np.uint8)
    truth[:, 32:] = 1
    truth[:8] = 255
    return image, truth


def body(picture, panel=128):
    """The rows of the panels: between titles and legend every panel has 100 somewhere."""
    rows = np.flatnonzero((picture[:, :panel] == 100).all((1, 2)))
    return picture[rows[0] : rows[-1] + 1]


def test_panels_show_image_truth_and_predictions():
    image, truth = inputs()
    picture = draw_side_by_side(
        image, truth, dict(CoDe=truth * 0 + 2), CLASSES, PALETTE, panel=128, opacity=0.75
    )
    panels = body(picture)
    assert panels.shape == (128, 3 * 128 + 2 * 8, 3)
    assert (panels[:, :128] == 100).all()
    truth_panel, prediction = panels[:, 136:264], panels[:, 272:]
    assert (truth_panel[:16] == 100).all()  # ignored
    assert (truth_panel[16:, :64] == 25).all()
    assert (truth_panel[16:, 64:] == [175, 25, 25]).all()
    assert (prediction == [25, 25, 175]).all()


def test_legend_names_only_classes_present():
    image, truth = inputs()
    picture = draw_side_by_side(image, truth, {}, CLASSES, PALETTE, panel=128)
    legend = picture[-30:]
    assert (legend == [200, 0, 0]).all(-1).any()
    assert not (legend == [0, 0, 200]).all(-1).any()


def test_without_truth_or_anything_labelled():
    image, truth = inputs()
    nothing = truth * 0 + 255
    picture = draw_side_by_side(image, None, dict(CoDe=nothing), CLASSES, PALETTE, panel=128)
    assert body(picture).shape == (128, 2 * 128 + 8, 3)
    assert (body(picture)[:, 136:] == 100).all()


@pytest.mark.parametrize('dtype', [np.uint8, np.int64, np.int32])
def test_label_types_and_large_labels(dtype):
    image, _ = inputs()
    classes = [f'class {i}' for i in range(171)]
    palette = [(i, i, i) for i in range(171)]
    labels = np.full((64, 64), 170, dtype)
    picture = draw_side_by_side(image, labels, {}, classes, palette, opacity=1.0, panel=64)
    assert (picture == 170).all(-1).sum() > 60 * 60


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(truth=np.zeros((3, 3), int)), r"of 'truth' with the shape of the image \(64, 64\)"),
        (dict(predictions=dict(CoDe=np.full((64, 64), 3))), r"'CoDe' below 3 .* but got \[3\]"),
        (dict(predictions=dict(CoDe=np.full((64, 64), -1))), r'but got \[-1\]'),
        (dict(palette=PALETTE[:2]), r'a colour per class \(3\), but got 2'),
        (dict(image=np.zeros((64, 64), np.uint8)), 'expected image'),
    ],
)
def test_wrong_input(change, message):
    image, truth = inputs()
    arguments = dict(image=image, truth=truth, predictions={}, classes=CLASSES, palette=PALETTE)
    with pytest.raises(ValueError, match=message):
        draw_side_by_side(**{**arguments, **change})
