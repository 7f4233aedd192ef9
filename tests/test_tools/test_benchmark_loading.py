import io
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from code_mm.datasets.preparation.noun_extraction import NounExtraction

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'tools' / 'benchmark'))

import loading_speed
from loading_speed import CACHED, DECODING, STREAM, TAGGING, VARIANTS, LoadingSpeed
from photo_like_shards import photo_like_image, write_photo_like_shards

PIPELINE = [
    dict(type='LoadNouns', tagger='textblob'),
    dict(type='SelectNouns', num_nouns=2),
    dict(type='LoadCaptionImage'),
    dict(type='RandomResizedCrop', size=32),
    dict(type='TokenizeCaption'),
    dict(type='PackCaptionInputs'),
]


@pytest.fixture(scope='module')
def shard(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    path = write_photo_like_shards(folder, 12)
    NounExtraction(str(folder), 'textblob').tag_shard(path)
    return path, str(folder)


@pytest.fixture
def speed(shard):
    return LoadingSpeed([shard[0]], PIPELINE, shard[1], num_samples=8)


def test_all_variants_load_the_same_samples(speed):
    assert len(speed.indices) == len(speed.images) == 8
    for position, index in enumerate(speed.indices):
        np.random.seed(0)
        tagged = speed.tagging[index]
        np.random.seed(0)
        cached = speed.cached[index]
        assert (tagged['inputs'] == cached['inputs']).all()
        for field in ('sample_key', 'nouns', 'selected_nouns'):
            assert getattr(tagged['data_samples'], field) == getattr(cached['data_samples'], field)
        size = Image.open(io.BytesIO(speed.images[position])).size
        assert speed._alone[position]['ori_shape'] == size[::-1]
        assert speed._alone[position]['img'].shape == (32, 32, 3)
    counts = speed.cached.pipeline.transforms[0].cache.counts()
    assert counts['found'] and not counts['missing']


def test_rates_are_samples_over_the_median_time(speed, monkeypatch):
    times = {DECODING: [9, 1, 2, 4], TAGGING: [9, 8, 8, 8], CACHED: [9, 2, 1, 4], STREAM: [1] * 4}
    order = []

    def seconds(name):
        order.append(name)
        return times[name].pop(0)

    monkeypatch.setattr(speed, '_seconds', seconds)
    rates = speed.samples_per_second(3)
    assert rates == {DECODING: 4, TAGGING: 1, CACHED: 4, STREAM: 8}
    assert order == list(VARIANTS) * 4  # taking turns, the first round is to warm up


def test_stages(speed, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(loading_speed.time, 'perf_counter', lambda: next(clock))
    stages = speed.stage_milliseconds()
    assert stages.keys() == {TAGGING, CACHED}
    names = ['reading', *(step['type'] for step in PIPELINE)]
    for times in stages.values():
        assert list(times) == names
        assert set(times.values()) == {1000}


def test_looking_up_is_faster_than_tagging(speed):
    found = speed.noun_milliseconds()
    assert 0 < found['look-up'] < found['tagging']


@pytest.mark.parametrize('workers', [0, 2])
def test_real_times(shard, workers):
    speed = LoadingSpeed([shard[0]], PIPELINE, shard[1], num_samples=8, num_workers=workers)
    rates = speed.samples_per_second(1)
    assert rates.keys() == set(VARIANTS)
    assert all(1 < rate < 1e6 for rate in rates.values())


def test_mistakes(shard):
    match = r"LoadNouns, LoadCaptionImage and a crop, but got \['LoadCaptionImage'\]"
    with pytest.raises(ValueError, match=match):
        LoadingSpeed([shard[0]], [dict(type='LoadCaptionImage')], shard[1])
    pipeline = [PIPELINE[0], dict(PIPELINE[1], num_nouns=50), *PIPELINE[2:]]
    with pytest.raises(ValueError, match=re.escape("usable pairs, but got {'few_nouns': 12}")):
        LoadingSpeed([shard[0]], pipeline, shard[1])


def test_images_are_like_photos():
    """Neighbours are alike, the spectrum falls, a file has about as many bits as a photo's."""
    image = photo_like_image(np.random.default_rng(0), 256, 256)
    assert image.shape == (256, 256, 3) and image.dtype == np.uint8
    grey = image[..., 0].astype(float)
    assert 0.94 < np.corrcoef(grey[:, 1:].ravel(), grey[:, :-1].ravel())[0, 1] < 0.995
    spectrum = np.abs(np.fft.fft2(grey - grey.mean()))
    low, high = spectrum[0, 4:9].mean(), spectrum[0, 40:90].mean()
    assert 20 < low / high < 80  # ten times the frequency
    assert 1.5 < cv2.imencode('.jpg', image)[1].size * 8 / 256**2 < 4  # bits per pixel
