"""What all caption datasets do with samples that turn out unusable."""

import numpy as np
import pytest

from code_mm.datasets.captions import CaptionDataset
from code_mm.structures.unusable_sample import UnusableSample


class NumbersDataset(CaptionDataset):
    """Samples 0, 1, 2, …; those in `bad` cannot be read."""

    def __init__(self, count, bad=(), **kwargs):
        self.count, self.bad = count, set(bad)
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(sample_key=f'n/{number}', number=number) for number in range(self.count)]

    def read_sample(self, info):
        if info['number'] in self.bad:
            raise UnusableSample('broken_image', 'bad number')
        return info


def test_bad_sample_is_replaced_as_the_seed_says():
    dataset = NumbersDataset(10, bad=[3, 4, 5])
    np.random.seed(7)
    found = [dataset[i]['number'] for i in range(10)]
    np.random.seed(7)  # an independent replay of the draws
    for index, number in enumerate(found):
        expected = index
        while expected in (3, 4, 5):
            expected = np.random.randint(0, 10)
        assert number == expected
    assert dataset.skipped == {'broken_image': 3}
    assert dataset.skipped_keys == {'broken_image': ['n/3', 'n/4', 'n/5']}
    assert dataset.ledger.num_used == 7


def test_too_many_bad_samples_end_with_an_error_and_in_test_mode_nothing_is_replaced():
    message = r'no usable sample in 10 tries; left out so far: \{\'broken_image\': [1-4]\}'
    with pytest.raises(RuntimeError, match=message):
        NumbersDataset(4, bad=range(4), max_refetch=9)[0]
    with pytest.raises(RuntimeError, match=r"sample 1 is unusable: \{'broken_image': \['n/1'\]\}"):
        NumbersDataset(4, bad=[1], test_mode=True)[1]


def test_what_a_transform_may_do():
    drop = lambda sample: None if sample['number'] == 2 else sample  # noqa: E731
    dataset = NumbersDataset(5, pipeline=[drop])
    assert dataset[2]['number'] != 2
    assert dataset.skipped_keys == {'other': ['n/2']}
    with pytest.raises(ZeroDivisionError):  # no sample's fault
        NumbersDataset(5, pipeline=[lambda sample: 1 // 0])[0]


def test_indices_select_what_is_counted():
    dataset = NumbersDataset(10, bad=[8], indices=[9, 8, 7])
    assert len(dataset) == 3
    dataset.prepare_data(1)
    assert dataset.skipped_keys == {'broken_image': ['n/8']}
    with pytest.raises(ValueError, match='indices select none'):
        NumbersDataset(3, indices=0, serialize_data=False)
