"""What is changed about the protocol, one thing at a time: keys of a config of the shapes world."""

from __future__ import annotations

from dataclasses import dataclass, field

from projects.shapes_world import BACKGROUNDS, NOUNS

PLAIN = 'as it is'
SIDE = 64  # of the images of the shapes world, in pixels
PAMR = dict(type='PAMR', num_iter=10, dilations=(1, 2, 4, 8, 12, 24))


@dataclass(frozen=True)
class Effect:
    """A protocol that differs from another in one thing.

    Attributes:
        name (str): Its row in the table.
        group (str): Its table, see ``GROUPS``.
        keys (dict): Keys of the config, dots between the names.
        against (str): Name of the protocol that it is compared with.
        templates (bool): It changes sentences only, which learnt contexts stand in for.
    """

    name: str
    group: str
    keys: dict = field(default_factory=dict)
    against: str = PLAIN
    templates: bool = False


GROUPS = {
    'threshold': 'threshold of the background plane',
    'background': 'background by names',
    'templates': 'templates',
    'resize': 'resize',
    'window': 'window and stride',
    'averaging': 'averaging masks or logits',
    'post_processing': 'post-processing',
    'scoring': 'size at which is scored',
}


def pipeline(side: int | None = None, at_input_size: bool = False) -> dict:
    """The test pipeline with images of another size, scored at the labels' size or at that one."""
    load = [dict(type='LoadImageFromFile')]
    labels = [dict(type='LoadAnnotations', reduce_zero_label=False)]
    resize = [dict(type='Resize', scale=(side, side), keep_ratio=True)] if side else []
    # resized after the labels are loaded, labels are resized too
    steps = load + (labels + resize if at_input_size else resize + labels)
    if at_input_size:
        steps.append(dict(type='ScoreAtInputSize'))
    return {'test_dataloader.dataset.pipeline': [*steps, dict(type='PackSegInputs')]}


def windows(size: int, stride: int) -> dict:
    """Sliding windows."""
    keys = dict(mode='slide', crop_size=(size, size), stride=(stride, stride), window_batch_size=4)
    return {'model.test_cfg': keys}


def by_names(background: str, **scores) -> dict:
    """No threshold: the background is looked for by its names."""
    keys = {
        'model.background_threshold': None,
        'custom_hooks': [dict(type='ClassNamesHook', class_names=[background, *NOUNS])],
    }
    if scores:
        keys['model.decode_head.name_scores'] = dict(type='SoftmaxOverNames', **scores)
    return keys


def threshold(value: float) -> dict:
    return {'model.background_threshold': value}


def post(**keys) -> dict:
    return {'model.decode_head.post_processor': {**PAMR, **keys}}


ALL_BACKGROUNDS = '|'.join(BACKGROUNDS)
BEST_NAME = f'{len(BACKGROUNDS)} names, the best of them'
# What the small CLIP read in pre-training (captions begin with some of these words).
PRETRAINED = ['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.']
FOUR_SENTENCES = 'four sentences of its captions'
SOFTMAX = f'{len(BACKGROUNDS)} names, softmax of averaged cosines'
LARGE, SMALL = 2 * SIDE, SIDE // 2
LOGITS = {'model.decode_head.name_scores': dict(type='MasksOfAveragedLogits')}
LARGE_WHOLE = f'images of {LARGE} pixels'
LARGE_WINDOWS = f'images of {LARGE}, windows of {SIDE} every {SIDE // 2}'

EFFECTS = (
    Effect(PLAIN, 'plain'),
    *(Effect(f'threshold {v}', 'threshold', threshold(v)) for v in (0.2, 0.3, 0.5, 0.6)),
    Effect("one name, 'background'", 'background', by_names('background')),
    Effect(BEST_NAME, 'background', by_names(ALL_BACKGROUNDS)),
    # the scale moves no arg-max: it matters for the threshold alone
    Effect(SOFTMAX, 'background', by_names(ALL_BACKGROUNDS, scale=40.0), BEST_NAME),
    *(
        Effect(
            f'softmax, pixels under {value} to the background',
            'background',
            by_names(ALL_BACKGROUNDS, scale=40.0, min_score=value),
            against=SOFTMAX,
        )
        for value in (0.1, 0.3, 0.5)
    ),
    Effect(
        'softmax, without classes under a tenth of the objects',
        'background',
        by_names(ALL_BACKGROUNDS, scale=40.0, min_share=0.1),
        against=SOFTMAX,
    ),
    *(
        Effect(title, 'templates', {'model.templates': value}, templates=True)
        for title, value in {
            'the bare name': ['{}'],
            "one sentence, 'a {}.'": ['a {}.'],
            FOUR_SENTENCES: PRETRAINED,
            "ImageNet's 80": 'imagenet',
        }.items()
    ),
    *(
        Effect(LARGE_WHOLE if side == LARGE else f'images of {side} pixels', 'resize', keys)
        for side in (SMALL, 48, 96, LARGE)
        for keys in [pipeline(side)]
    ),
    Effect(f'windows of {SMALL} every {SMALL}', 'window', windows(SMALL, SMALL)),
    Effect(f'windows of {SMALL} every {SMALL // 2}', 'window', windows(SMALL, SMALL // 2)),
    Effect(LARGE_WINDOWS, 'window', {**pipeline(LARGE), **windows(SIDE, SIDE // 2)}, LARGE_WHOLE),
    Effect(
        f'images of {LARGE}, windows of {SIDE} every {SIDE}',
        'window',
        {**pipeline(LARGE), **windows(SIDE, SIDE)},
        LARGE_WHOLE,
    ),
    Effect('logits resized, then sigmoid', 'averaging', LOGITS),
    Effect(
        f'{LARGE_WINDOWS}: logits averaged, then sigmoid',
        'averaging',
        {**pipeline(LARGE), **windows(SIDE, SIDE // 2), **LOGITS},
        LARGE_WINDOWS,
    ),
    Effect('PAMR, 10 iterations', 'post_processing', post()),
    Effect('PAMR, 3 iterations', 'post_processing', post(num_iter=3)),
    Effect(
        'PAMR, near neighbours only (dilations 1, 2, 4)',
        'post_processing',
        post(dilations=(1, 2, 4)),
    ),
    # what a change does may depend on another one
    Effect(
        f'{FOUR_SENTENCES}, and PAMR',
        'post_processing',
        {**post(), 'model.templates': PRETRAINED},
        against=FOUR_SENTENCES,
        templates=True,
    ),
    *(
        Effect(
            f'images of {side}, scored at {side}', 'scoring', pipeline(side, True), against=against
        )
        for side, against in ((SMALL, f'images of {SMALL} pixels'), (LARGE, LARGE_WHOLE))
    ),
)
