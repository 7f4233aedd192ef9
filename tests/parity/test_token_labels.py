"""Golden cases 7 and 11: the pseudo labels of token positions, exactly."""

import pytest
import torch

from code_mm.nouns import token_labels
from code_mm.tokenizers import CLIPTokenizer

TOKENIZER = CLIPTokenizer()


def test_labels_of_every_caption(golden):
    case = golden.case('07_pseudo_labels')
    tensors = golden.tensors(case)
    length = tensors['labels'].shape[1]
    for row, text in enumerate(case['strings']):
        ids = TOKENIZER.tokenize(text['caption'], length)[0]
        golden.assert_close(ids, tensors['caption_ids'][row], case, what='caption_ids')
        labels = token_labels(ids, text['all_nouns'], text['selected'], TOKENIZER)
        golden.assert_close(labels, tensors['labels'][row], case, what=str(text))


def batch_labels(strings, nouns_per_slot, length):
    rows = []
    for image, caption in enumerate(strings['captions']):
        selected = [slot[image] for slot in nouns_per_slot]
        ids = TOKENIZER.tokenize(caption, length)[0]
        nouns = strings['all_nouns_per_caption'][image]
        rows.append(token_labels(ids, nouns, selected, TOKENIZER))
    return torch.stack(rows)


def test_labels_of_the_training_batch(golden):
    strings = golden.case('11_train_inputs')['strings']
    case = golden.case('07_pseudo_labels')
    expected = golden.tensors(case)['training_batch_labels']
    labels = batch_labels(strings, strings['nouns_J_B'], expected.shape[1])
    golden.assert_close(labels, expected, case, what='training_batch_labels')
    inputs = golden.case('11_train_inputs')
    golden.assert_close(
        labels, golden.tensors(inputs)['pseudo_labels'], inputs, what='pseudo_labels'
    )


@pytest.mark.parametrize('name', ['11_train_J1', '11_train_J3'])
def test_labels_for_other_numbers_of_nouns(golden, name):
    strings = golden.case('11_train_inputs')['strings']
    case = golden.case(name)
    expected = golden.tensors(case)['pseudo_labels']
    labels = batch_labels(strings, case['strings']['nouns_J_B'], expected.shape[1])
    assert torch.equal(labels, expected)
