import numpy as np
import pytest
from matplotlib import font_manager

from code_mm.visualization import lettering
from code_mm.visualization.lettering import TextPiece, draw_text, font


def test_lines_break_at_the_width():
    pieces = [TextPiece('word')] * 12
    one, many = draw_text(pieces, 2000, 16), draw_text(pieces, 120, 16)
    assert many.shape[1] == 120
    assert many.shape[0] > 3 * one.shape[0]


def test_ground_and_underline():
    plain, red = (210, 220, 230), (255, 0, 0)
    picture = draw_text([TextPiece('a', plain), TextPiece('b', underline=red)], 200, 16)
    assert (picture == np.array(plain)).all(-1).sum() > 50
    assert 10 < (picture == np.array(red)).all(-1).sum() < 60


@pytest.mark.parametrize('text', ['', 'x' * 500, '木の' * 50])
def test_margins_are_kept(text):
    picture = draw_text([TextPiece(text)], 90, 16, margin=8)
    assert (picture[:, :5] == 255).all()
    assert (picture[:, -5:] == 255).all()


def test_a_font_of_the_machine_stands_in_for_letters_that_ours_lacks(monkeypatch):
    # matplotlib's font of last resort has a picture for every letter
    monkeypatch.setattr(lettering, '_FALLBACKS', ('Nowhere', 'Last Resort High-Efficiency'))
    for cached in (lettering.fonts, font):
        cached.cache_clear()
    assert list(lettering.fonts()) == ['DejaVu Sans', 'Last Resort High-Efficiency']
    last = font_manager.get_font(lettering.fonts()['Last Resort High-Efficiency']).family_name
    families = [font(16, text).getname()[0] for text in ('cat', 'größe', '猫', 'cat 猫')]
    assert families == ['DejaVu Sans', 'DejaVu Sans', last, last]
    drawn = draw_text([TextPiece('猫')], 60, 16)
    monkeypatch.undo()
    for cached in (lettering.fonts, font):
        cached.cache_clear()
    assert (drawn != draw_text([TextPiece('\uffff')], 60, 16)).any()  # a box
