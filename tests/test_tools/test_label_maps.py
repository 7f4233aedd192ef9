import numpy as np
import pytest
import torch
from label_maps import (
    SavedPredictions,
    find_image,
    load_truth,
)
from mmengine.structures import PixelData
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric
from PIL import Image

NAMES = ('b_leftImg8bit', 'a')
CLASSES = ('cat', 'dog', 'cow')


def make_dataset(root, reduce_zero_label=False, load=True):
    """Two images; in the files 0 is unlabelled where it is reduced."""
    for kind in ('img', 'ann'):
        (root / kind).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        Image.fromarray(rng.integers(0, 255, (6, 5, 3), np.uint8)).save(root / f'img/{name}.jpg')
        labels = rng.integers(0, 3 + reduce_zero_label, (6, 5)).astype(np.uint8)
        Image.fromarray(labels).save(root / f'ann/{name}.png')
    annotations = [dict(type='LoadAnnotations', reduce_zero_label=reduce_zero_label)]
    return BaseSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='img', seg_map_path='ann'),
        metainfo=dict(classes=CLASSES),
        reduce_zero_label=reduce_zero_label,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(20, 24)),
            *(annotations if load else []),
            dict(type='PackSegInputs'),
        ],
    )


def save_with_mmseg(dataset, folder):
    """Random predictions, written by IoUMetric as in tools/test.py --out."""
    metric = IoUMetric(output_dir=str(folder))
    metric.dataset_meta = dataset.metainfo
    predictions = []
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        generator = torch.Generator().manual_seed(i)
        prediction = torch.randint(0, 3, (1, 6, 5), generator=generator)
        sample.set_data(dict(pred_sem_seg=PixelData(data=prediction)))
        metric.process({}, [sample.to_dict()])
        predictions.append(prediction[0].numpy())
    return predictions


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_saved_labels_come_back(tmp_path, reduce_zero_label):
    dataset = make_dataset(tmp_path, reduce_zero_label)
    predictions = save_with_mmseg(dataset, tmp_path / 'maps')
    saved = SavedPredictions(dataset, tmp_path / 'maps')
    assert len(saved) == 2
    for i, one in enumerate(saved):
        assert one.path == dataset.get_data_info(i)['img_path']
        assert (one.prediction == predictions[i]).all()
        name = sorted(NAMES)[i]
        in_file = np.asarray(Image.open(tmp_path / f'ann/{name}.png')).astype(int)
        expected = np.where(in_file == 0, 255, in_file - 1) if reduce_zero_label else in_file
        assert (one.truth == expected).all()


def test_maps_and_truths_that_do_not_fit_are_named(tmp_path):
    dataset, maps = make_dataset(tmp_path), tmp_path / 'maps'
    save_with_mmseg(dataset, maps)
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(maps / 'a.png')
    with pytest.raises(ValueError, match=r'annotation \(6, 5\), but .*a.png has \(3, 5\)'):
        SavedPredictions(dataset, maps)[0]
    (maps / 'a.png').unlink()
    with pytest.raises(FileNotFoundError, match=r"but 1 are missing, \['a.png'\]"):
        SavedPredictions(dataset, maps)
    with pytest.raises(ValueError, match='expected a test pipeline that loads the truth'):
        load_truth(make_dataset(tmp_path, load=False), 0)
    (tmp_path / 'img/more').mkdir()
    (tmp_path / 'img/a.jpg').rename(tmp_path / 'img/more/b_leftImg8bit.jpg')
    keys = dict(data_prefix=dataset.data_prefix, metainfo=dict(classes=CLASSES))
    with pytest.raises(ValueError, match=r"1 names occur more than once, .*'b_leftImg8bit.png'"):
        SavedPredictions(BaseSegDataset(**keys), maps)


def test_images_by_index_name_and_path():
    paths = ['data/0007.jpg', 'data/b.png', 'data/x/c.jpg', 'data/y/c.jpg']
    names = ['1', '-1', '0007', 'b', 'b.png', 'data/x/c.jpg']
    assert [find_image(paths, name) for name in names] == [1, 3, 0, 1, 1, 2]
    with pytest.raises(IndexError, match='below 4 images, but got -5'):
        find_image(paths, '-5')
    with pytest.raises(ValueError, match=r"called 'c', but 2 are, \['data/x/c.jpg'"):
        find_image(paths, 'c')
    with pytest.raises(ValueError, match=r"such as \['0007.jpg', .*but got 'none.jpg'"):
        find_image(paths, 'none.jpg')
