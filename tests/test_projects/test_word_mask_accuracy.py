import json

import pytest
import torch

from code_mm.tokenizers import CLIPTokenizer
from projects.shapes_world import ShapesWorld, WordMaskAccuracy

CAPTION = 'a striped red star near a boat'
WORDS = [
    ['a', 0, 1, None],
    ['striped', 2, 9, 'star'],
    ['red', 10, 13, 'star'],
    ['star', 14, 18, 'star'],
    ['near', 19, 23, None],
    ['a', 24, 25, None],
    ['boat', 26, 30, 'boat'],
]

tokenize = CLIPTokenizer().tokenize


@pytest.fixture
def metric(tmp_path):
    def make(rows=({'caption': CAPTION, 'words': WORDS},)):
        path = tmp_path / 'captions.jsonl'
        path.write_text('\n'.join(json.dumps(row) for row in rows))
        return WordMaskAccuracy(str(path))

    return make


def sample(words, selected=('boat', 'star'), caption=CAPTION, length=12):
    """Word masks that give each word in ``words`` (index -> slot) a probability of .6."""
    masks = torch.full((len(selected), length), 0.1)
    masks[:, 0] = 1.0  # start and end do not count
    masks[:, -1] = 1.0
    for index, slot in words.items():
        masks[slot, index + 1] = 0.6  # every word here is one token
    return dict(word_masks=masks, caption=caption, selected_nouns=list(selected))


def test_by_hand(metric):
    found = metric()
    # striped right, red at the wrong noun, star right, near at a noun, boat missed
    found.process(None, [sample({1: 1, 2: 0, 3: 1, 4: 1})])
    assert found.evaluate(1) == pytest.approx(
        dict(word_accuracy=4 / 7, word_accuracy_none=3 / 7, attribute_accuracy=1 / 2)
    )


def test_words_of_several_tokens_are_averaged(metric):
    word = 'unphotographable'
    words = [['an', 0, 2, None], [word, 3, 3 + len(word), word]]
    ids = tokenize(f'an {word}', 12)[0]
    pieces = int((ids > 0).sum()) - 3
    assert pieces > 1
    masks = torch.zeros(1, 12)
    masks[0, 2] = 1.0  # the first piece only: on average 1 / pieces < 1/2
    masks[0, 3] = 0.5 * pieces - 1 + 0.2  # now above 1/2 on average
    found = metric([{'caption': f'an {word}', 'words': words}])
    found.process(None, [dict(word_masks=masks, caption=f'an {word}', selected_nouns=[word])])
    assert found.evaluate(1)['word_accuracy'] == 1
    masks[0, 3] -= 0.4
    found.process(None, [dict(word_masks=masks, caption=f'an {word}', selected_nouns=[word])])
    assert found.evaluate(1)['word_accuracy'] == 1 / 2


def test_every_caption_of_the_shapes_world_is_tokenised_word_by_word(metric):
    world = ShapesWorld('hard', seed=3)
    for index in range(50):
        caption = world.sample('validation', index).caption
        found = metric([{'caption': caption.text, 'words': caption.words}])
        noun = caption.nouns[0]
        ids = tokenize(caption.text, 60)[0]
        masks = torch.zeros(1, 60)
        position = 1
        for word, _, _, owner in caption.words:
            width = int((tokenize(word, 60)[0] > 0).sum()) - 2
            assert ids[position : position + width].tolist() == (
                tokenize(word, 60)[0][1 : 1 + width].tolist()
            )
            masks[0, position : position + width] = owner == noun
            position += width
        found.process(None, [dict(word_masks=masks, caption=caption.text, selected_nouns=[noun])])
        assert found.evaluate(1)['word_accuracy'] == 1


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        (dict(caption=CAPTION, selected_nouns=['boat']), 'expected samples with word_masks'),
        (sample({}, caption='a dog'), "expected a caption of .* but got 'a dog'"),
    ],
)
def test_broken_samples(metric, broken, message):
    with pytest.raises(ValueError, match=message):
        metric().process(None, [broken])


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([{'caption': CAPTION}], 'expected caption and words in line 1'),
        (
            [{'caption': CAPTION, 'words': WORDS}, {'caption': CAPTION, 'words': WORDS[:3]}],
            'two different owners',
        ),
    ],
)
def test_broken_files(metric, rows, message):
    with pytest.raises(ValueError, match=message):
        metric(rows)
