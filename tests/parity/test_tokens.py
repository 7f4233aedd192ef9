"""Golden cases 6, 7 and 11: token ids and the pseudo labels of their positions, exactly."""

import pytest
import torch

from code_mm.nouns import token_labels
from code_mm.tokenizers import CLIPTokenizer

TOKENIZER = CLIPTokenizer()


def test_ids_of_every_string_at_both_context_lengths(golden):
    case = golden.case('06_tokenizer')
    tensors, constants = golden.tensors(case), case['constants']
    for name, length in (('ids', 'context'), ('ids_ctx61', 'context_for_prompted')):
        ids = TOKENIZER.tokenize(case['strings'], constants[length])
        rows = zip(case['strings'], ids, tensors[name], strict=True)
        assert not [text for text, row, expected in rows if not row.equal(expected)]
    start, _, *rest = TOKENIZER.tokenize('a', 5)[0].tolist()
    assert (start, rest) == (constants['sos'], [constants['eos'], *[constants['pad']] * 2])


def test_labels_of_every_caption(golden):
    case = golden.case('07_pseudo_labels')
    tensors = golden.tensors(case)
    length = tensors['labels'].shape[1]
    for row, text in enumerate(case['strings']):
        ids = TOKENIZER.tokenize(text['caption'], length)[0]
        golden.assert_close(ids, tensors['caption_ids'][row], case, what='caption_ids')
        labels = token_labels(ids, text['all_nouns'], text['selected'], TOKENIZER)
        golden.assert_close(labels, tensors['labels'][row], case, what=str(text))


@pytest.mark.parametrize(
    ('name', 'nouns'),
    [('07_pseudo_labels', '11_train_inputs'), ('11_train_inputs', '11_train_inputs')]
    + [(f'11_train_J{count}', f'11_train_J{count}') for count in (1, 3)],
)
def test_labels_of_training_batches(golden, name, nouns):
    strings, tensors = golden.case('11_train_inputs')['strings'], golden.tensors(name)
    expected = tensors.get('training_batch_labels', tensors.get('pseudo_labels'))
    rows = []
    for image, caption in enumerate(strings['captions']):
        selected = [slot[image] for slot in golden.case(nouns)['strings']['nouns_J_B']]
        ids = TOKENIZER.tokenize(caption, expected.shape[1])[0]
        all_nouns = strings['all_nouns_per_caption'][image]
        rows.append(token_labels(ids, all_nouns, selected, TOKENIZER))
    assert torch.equal(torch.stack(rows), expected)
