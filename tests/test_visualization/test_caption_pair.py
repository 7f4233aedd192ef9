import numpy as np
import pytest
from PIL import Image

from code_mm.datasets import transforms  # noqa: F401
from code_mm.structures.unusable_sample import UnusableSample
from code_mm.tokenizers import tokenize
from code_mm.visualization import load_caption_pair

CAPTION = 'a red cat and a dog on the grass'
PIPELINE = [
    dict(type='LoadNouns', tagger='textblob'),
    dict(type='SelectNouns', num_nouns=1),
    dict(type='LoadCaptionImage', min_size=4),
    dict(type='RandomResizedCrop', size=16),
    dict(type='RandomFlip', prob=1.0),
    dict(type='code_mm.TokenizeCaption', context_length=16, noun_context_length=8),
    dict(type='PackCaptionInputs'),
]


@pytest.fixture
def photo(tmp_path):
    """Left half black, right half white, 24 x 40 pixels."""
    image = np.zeros((24, 40, 3), np.uint8)
    image[:, 20:] = 255
    Image.fromarray(image).save(tmp_path / 'photo.png')
    return str(tmp_path / 'photo.png')


def test_the_whole_image_without_crop_and_flip(photo):
    pair = load_caption_pair(PIPELINE, photo, CAPTION, multiple=8)
    # shorter side 16, the longer one 26.7 rounded to patches
    assert pair['inputs'].shape == (3, 16, 24)
    assert (pair['inputs'][..., :11] == 0).all()
    assert (pair['inputs'][..., 13:] == 255).all()
    assert load_caption_pair(PIPELINE, photo, CAPTION, size=48)['inputs'].shape == (3, 48, 80)


def test_all_nouns_of_the_caption_in_its_order(photo):
    sample = load_caption_pair(PIPELINE, photo, CAPTION)['data_samples']
    assert sample.selected_nouns == ['cat', 'dog', 'grass']
    assert (sample.noun_ids == tokenize(['cat', 'dog', 'grass'], 8)).all()
    assert (sample.caption_ids == tokenize([CAPTION], 16)[0]).all()
    # start a red cat and a dog on the grass end
    assert sample.token_labels[:11].tolist() == [-1, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1]
    fewer = load_caption_pair(PIPELINE, photo, CAPTION, max_nouns=2)['data_samples']
    assert fewer.selected_nouns == ['cat', 'dog']


def test_nouns_of_the_user(photo):
    sample = load_caption_pair(PIPELINE, photo, CAPTION, ['red cat', 'horse'])['data_samples']
    assert sample.selected_nouns == ['red cat', 'horse']


def test_without_crop_in_the_pipeline_the_image_keeps_its_size(photo):
    steps = [step for step in PIPELINE if step['type'] != 'RandomResizedCrop']
    assert load_caption_pair(steps, photo, CAPTION)['inputs'].shape == (3, 24, 40)


def test_wrong_input_is_named(photo):
    with pytest.raises(ValueError, match=r"it lacks \['SelectNouns', 'PackCaptionInputs'\]"):
        load_caption_pair(PIPELINE[2:6], photo, CAPTION)
    with pytest.raises(ValueError, match="none were found in 'very'"):
        load_caption_pair(PIPELINE, photo, 'very')
    with pytest.raises(UnusableSample, match='missing_image'):
        load_caption_pair(PIPELINE, 'nowhere.jpg', CAPTION)
