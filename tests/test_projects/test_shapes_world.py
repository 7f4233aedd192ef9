import numpy as np
import pytest

from projects.shapes_world import BACKGROUNDS, LEVELS, NOUNS, ShapesWorld


def _samples(level, count=40, **overrides):
    world = ShapesWorld(level, seed=3, **overrides)
    return world, [world.sample('train', i) for i in range(count)]


def test_a_sample_depends_on_seed_split_and_index_only():
    first, again = ShapesWorld('hard', seed=5), ShapesWorld('hard', seed=5)
    again.sample('train', 0)  # order of visits must not matter
    a, b = first.sample('train', 7), again.sample('train', 7)
    assert np.array_equal(a.image, b.image) and a.caption == b.caption and a.scene == b.scene
    for other in (
        first.sample('train', 8),
        first.sample('validation', 7),
        ShapesWorld('hard', seed=6).sample('train', 7),
    ):
        assert not np.array_equal(a.image, other.image)


@pytest.mark.parametrize('level', sorted(LEVELS))
def test_scenes_keep_what_the_level_promises(level):
    _, samples = _samples(level)
    least, most = LEVELS[level].num_objects
    for sample in samples:
        names = sample.object_nouns
        assert 1 <= len(names) <= most and len(set(names)) == len(names)
        assert set(names) <= set(NOUNS[: LEVELS[level].num_nouns])
        colours = [o.colour for o in sample.scene.objects]
        assert len(set(colours)) == len(colours)
        assert not set(colours) & set(BACKGROUNDS[sample.scene.background][1])
        assert sample.image.shape == (64, 64, 3) and sample.image.dtype == np.uint8
        assert set(np.unique(sample.instances)) <= set(range(len(names) + 1))
    # the first object always stays; nearly all others find a place
    assert np.mean([len(s.object_nouns) for s in samples]) > (least + most) / 2 - 0.3


def test_areas_follow_the_level():
    for level, low, high in (('easy', 0.1, 0.25), ('hard', 0.04, 0.13)):
        _, samples = _samples(level)
        areas = [(s.instances == i + 1).mean() for s in samples for i in range(len(s.object_nouns))]
        assert low < np.min(areas) and np.max(areas) < high


def test_label_maps_hold_nouns_and_backgrounds():
    world, samples = _samples('hard', 10)
    for sample in samples:
        labels = world.label_map(sample)
        full = world.label_map(sample, background_nouns=True)
        for i, noun in enumerate(sample.object_nouns):
            assert (labels[sample.instances == i + 1] == 1 + NOUNS.index(noun)).all()
        ground = 17 + list(BACKGROUNDS).index(sample.scene.background)
        assert (labels[sample.instances == 0] == 0).all()
        assert (full[sample.instances == 0] == ground).all()
        assert np.array_equal(full[sample.instances > 0], labels[sample.instances > 0])


def test_later_objects_cover_earlier_ones():
    from projects.shapes_world.drawing import draw
    from projects.shapes_world.scene import Scene, SceneObject

    below = SceneObject('ring', 'red', 'plain', (0.5, 0.5), 0.8, 0.0, False)
    above = SceneObject('heart', 'blue', 'plain', (0.5, 0.5), 0.8, 0.0, False)
    image, instances = draw(Scene('sand', (below, above)), 64, np.random.default_rng(0))
    alone = draw(Scene('sand', (above,)), 64, np.random.default_rng(0))[1]
    assert np.array_equal(instances == 2, alone == 1)
    blue = image[instances == 2].astype(int)
    assert (blue[:, 2] > blue[:, 0]).all()


def test_companions_occur_together_in_the_hard_level():
    _, samples = _samples('hard', 400)
    on_water = [('boat' in s.object_nouns) for s in samples if s.scene.background == 'water']
    elsewhere = [('boat' in s.object_nouns) for s in samples if s.scene.background != 'water']
    assert np.mean(on_water) > 2 * np.mean(elsewhere)


def test_overrides_change_a_level_and_mistakes_are_named():
    _, samples = _samples('few', 60, name_colour=1.0, num_objects=(2, 2))
    assert all('red' in s.caption.text for s in samples if _red_named(s))
    with pytest.raises(ValueError, match=r"expected a level of .*'hard'.*but got 'harder'"):
        ShapesWorld('harder')
    with pytest.raises(ValueError, match='at least 16 pixels, but got 8'):
        ShapesWorld('hard', size=8)
    with pytest.raises(TypeError, match='name_color'):
        ShapesWorld('hard', name_color=1.0)


def _red_named(sample):
    return any(o.colour == 'red' and o.noun in sample.caption.nouns for o in sample.scene.objects)
