import pytest

from code_mm.evaluation import draw_images, find_images

PATHS = ['data/0007.jpg', 'data/b.png', 'data/x/c.jpg', 'data/y/c.jpg']


def test_indices_names_and_paths():
    assert find_images(PATHS, ['1', '-1', '0007', 'b', 'b.png', 'data/x/c.jpg']) == [
        *(1, 3, 0, 1, 1, 2),
    ]


def test_a_file_beside_the_data_set(tmp_path):
    (tmp_path / 'photo.jpg').touch()
    assert find_images(PATHS, [str(tmp_path / 'photo.jpg')]) == [str(tmp_path / 'photo.jpg')]


@pytest.mark.parametrize(
    ('name', 'error', 'message'),
    [
        ('4', IndexError, 'below 4 images, but got 4'),
        ('-5', IndexError, 'but got -5'),
        ('c', ValueError, r"called 'c', but 2 are, \['data/x/c.jpg'"),
        ('none.jpg', ValueError, r"such as \['0007.jpg', .*but got 'none.jpg'"),
    ],
)
def test_what_is_not_there(name, error, message):
    with pytest.raises(error, match=message):
        find_images(PATHS, [name])


def test_a_seed_draws_the_same_images():
    drawn = draw_images(100, 5, seed=3)
    assert drawn == draw_images(100, 5, seed=3) == sorted(set(drawn))
    assert len(drawn) == 5
    assert drawn != draw_images(100, 5, seed=4)
    assert draw_images(3, 5) == [0, 1, 2]
    with pytest.raises(ValueError, match='at least 1 image'):
        draw_images(3, 0)
