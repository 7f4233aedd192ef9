import pytest
from code_mm.models.segmentors.prediction_settings import PredictionSettings
from mmengine.config import ConfigDict
from tiny_model import tiny_code

SLIDE = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))


def test_defaults_are_mmsegs_behaviour():
    settings = PredictionSettings.from_test_cfg(None)
    assert (settings.mode, settings.window_batch_size) == ('whole', 1)
    assert settings.keep_scores and not settings.scores_on_cpu


def test_keys_are_taken_over_and_a_whole_image_may_inherit_those_of_windows():
    keys = dict(crop_size=[32, 48], stride=[16, 48], window_batch_size=3, class_chunk=5)
    for mode in ('slide', 'whole'):
        settings = PredictionSettings.from_test_cfg(ConfigDict(mode=mode, **keys))
        assert settings == PredictionSettings(mode=mode, **keys)


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(mode='slied'), "mode to be 'whole' or 'slide', got 'slied'"),
        (dict(window_batch_sise=4), "got 'window_batch_sise'; did you mean 'window_batch_size'"),
        (dict(colour=1), "among .*'mode'.*, but got 'colour'$"),
        (dict(window_batch_size=0), 'window_batch_size to be an integer >= 1, got 0'),
        (dict(window_batch_size=2.0), 'window_batch_size to be an integer >= 1, got 2.0'),
        (dict(window_batch_size=True), 'window_batch_size to be an integer >= 1, got True'),
        (dict(class_chunk=-1), 'class_chunk to be an integer >= 1, got -1'),
        (dict(keep_scores='no'), "keep_scores to be True or False, got 'no'"),
        (dict(scores_on_cpu=1), 'scores_on_cpu to be True or False, got 1'),
        (dict(crop_size=None), r'crop_size = \(height, width\) .*, but got None'),
        (dict(crop_size=32), r'crop_size = \(height, width\) .*, but got 32'),
        (dict(stride=(0, 16)), r'stride = \(height, width\) .*, but got \(0, 16\)'),
        (dict(stride=(16, 33)), r'stride <= crop_size, but got \(16, 33\) and \(32, 32\): pixels'),
    ],
)
def test_mistakes_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        PredictionSettings.from_test_cfg({**SLIDE, **changed})


def test_mistakes_are_found_when_the_model_is_built():
    with pytest.raises(ValueError, match="did you mean 'stride'"):
        tiny_code(test_cfg=dict(mode='slide', crop_size=(32, 32), strides=(16, 16)))


def test_the_segmentor_looks_at_what_test_cfg_says_now():
    model = tiny_code(test_cfg=None)
    assert model.test_cfg == dict(mode='whole')
    model.test_cfg.update(SLIDE)
    assert model.prediction_settings == PredictionSettings(**SLIDE)
    model.test_cfg.stride = (64, 64)
    with pytest.raises(ValueError, match='stride <= crop_size'):
        model.prediction_settings  # noqa: B018
