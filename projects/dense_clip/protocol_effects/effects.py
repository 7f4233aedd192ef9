"""What is changed about the protocol, one thing at a time: keys of a config of the shapes world."""

from __future__ import annotations

from dataclasses import dataclass

from projects.shapes_world import BACKGROUNDS, NOUNS

PLAIN = 'as it is'
SIDE = 64  # of the images of the shapes world, in pixels


@dataclass(frozen=True)
class Effect:
    """A protocol that differs from another in one thing.

    Attributes:
        name (str): Its row in the table.
        group (str): Its table, see ``GROUPS``.
        keys (dict): Keys of the config, dots between the names.
        against (str): Name of the protocol that it is compared with.
    """

    name: str
    group: str
    keys: dict
    against: str = PLAIN

    @property
    def templates(self) -> bool:
        """It changes sentences, which learnt contexts stand in for."""
        return 'model.templates' in self.keys


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


def pipeline(side: int, at_input_size: bool = False) -> dict:
    """The test pipeline with images of another size, scored at the labels' size or at that one."""
    labels = [dict(type='LoadAnnotations', reduce_zero_label=False)]
    resize = [dict(type='Resize', scale=(side, side), keep_ratio=True)]
    # resized after the labels are loaded, labels are resized too
    steps = labels + resize + [dict(type='ScoreAtInputSize')] if at_input_size else resize + labels
    steps = [dict(type='LoadImageFromFile'), *steps, dict(type='PackSegInputs')]
    return {'test_dataloader.dataset.pipeline': steps}


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


def pamr(num_iter: int = 10, dilations: tuple = (1, 2, 4, 8, 12, 24)) -> dict:
    keys = dict(type='PAMR', num_iter=num_iter, dilations=dilations)
    return {'model.decode_head.post_processor': keys}


def templates(value: list[str] | str) -> dict:
    return {'model.templates': value}


ALL_BACKGROUNDS = '|'.join(BACKGROUNDS)
BEST_NAME = f'{len(BACKGROUNDS)} names, the best of them'
# What the small CLIP read in pre-training (captions begin with some of these words).
PRETRAINED = templates(['a {}.', 'there is a {}.', 'this shows a {}.', 'look at a {}.'])
FOUR_SENTENCES = 'four sentences of its captions'
SOFTMAX = f'{len(BACKGROUNDS)} names, softmax of averaged cosines'
LARGE, SMALL = 2 * SIDE, SIDE // 2
LOGITS = {'model.decode_head.name_scores': dict(type='MasksOfAveragedLogits')}
LARGE_WHOLE = f'images of {LARGE} pixels'
LARGE_WINDOWS = f'images of {LARGE}, windows of {SIDE} every {SIDE // 2}'
LARGE_WINDOW_KEYS = {**pipeline(LARGE), **windows(SIDE, SIDE // 2)}

# Group -> rows: name, keys[, what it is compared with].
_ROWS = {
    'plain': [(PLAIN, {})],
    'threshold': [(f'threshold {v}', threshold(v)) for v in (0.2, 0.3, 0.5, 0.6)],
    'background': [
        ("one name, 'background'", by_names('background')),
        (BEST_NAME, by_names(ALL_BACKGROUNDS)),
        # the scale moves no arg-max: it matters for the threshold alone
        (SOFTMAX, by_names(ALL_BACKGROUNDS, scale=40.0), BEST_NAME),
        *(
            (
                f'softmax, pixels under {value} to the background',
                by_names(ALL_BACKGROUNDS, scale=40.0, min_score=value),
                SOFTMAX,
            )
            for value in (0.1, 0.3, 0.5)
        ),
        (
            'softmax, without classes under a tenth of the objects',
            by_names(ALL_BACKGROUNDS, scale=40.0, min_share=0.1),
            SOFTMAX,
        ),
    ],
    'templates': [
        ('the bare name', templates(['{}'])),
        ("one sentence, 'a {}.'", templates(['a {}.'])),
        (FOUR_SENTENCES, PRETRAINED),
        ("ImageNet's 80", templates('imagenet')),
    ],
    'resize': [(f'images of {side} pixels', pipeline(side)) for side in (SMALL, 48, 96, LARGE)],
    'window': [
        (f'windows of {SMALL} every {SMALL}', windows(SMALL, SMALL)),
        (f'windows of {SMALL} every {SMALL // 2}', windows(SMALL, SMALL // 2)),
        (LARGE_WINDOWS, LARGE_WINDOW_KEYS, LARGE_WHOLE),
        (
            f'images of {LARGE}, windows of {SIDE} every {SIDE}',
            {**pipeline(LARGE), **windows(SIDE, SIDE)},
            LARGE_WHOLE,
        ),
    ],
    'averaging': [
        ('logits resized, then sigmoid', LOGITS),
        (
            f'{LARGE_WINDOWS}: logits averaged, then sigmoid',
            {**LARGE_WINDOW_KEYS, **LOGITS},
            LARGE_WINDOWS,
        ),
    ],
    'post_processing': [
        ('PAMR, 10 iterations', pamr()),
        ('PAMR, 3 iterations', pamr(num_iter=3)),
        ('PAMR, near neighbours only (dilations 1, 2, 4)', pamr(dilations=(1, 2, 4))),
        # what a change does may depend on another one
        (f'{FOUR_SENTENCES}, and PAMR', {**pamr(), **PRETRAINED}, FOUR_SENTENCES),
    ],
    'scoring': [
        (f'images of {side}, scored at {side}', pipeline(side, True), f'images of {side} pixels')
        for side in (SMALL, LARGE)
    ],
}
EFFECTS = tuple(Effect(name, group, *rest) for group, rows in _ROWS.items() for name, *rest in rows)
