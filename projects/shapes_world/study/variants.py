"""The variants of the study: what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass, field

from projects.shapes_world import BACKGROUNDS, NOUNS

CODE = 'projects/shapes_world/configs/code_shapes-hard.py'
MASKCLIP = 'projects/shapes_world/configs/maskclip_shapes-hard.py'
_SEGMENTER_ONLY = {
    'model.co_decomposition.text_segmenter': None,
    'model.co_decomposition.word_prompt': None,
    'model.co_decomposition.region_prompt.learnable': False,
    'model.co_decomposition.losses.word_segmentation': None,
    'model.co_decomposition.losses.region_word': None,
    'custom_hooks.2.stages': [dict(begin=0, freeze=[])],  # no warm-up of the words
}
_FIXED_REGIONS = {'model.co_decomposition.region_prompt.learnable': False}
_DENSE_CLIP = {
    'custom_imports.imports': ['code_mm', 'projects.shapes_world', 'projects.dense_clip']
}


def _started_from(attention: str) -> dict:
    key = 'model.image_segmenter.tail.dense_attention'
    return {**_DENSE_CLIP, key: dict(type=attention)}


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    Args:
        name (str): Key in ``docs/study.json``.
        title (str): What the tables call it.
        groups (tuple[str, ...]): Tables that it belongs to.
        config (str): From the project's root.
        options (dict): Keys of the config that it changes.
        level (str): Shapes world that it learns and is scored on.
        trained (bool): Whether it learns anything; then there is one run per seed.
        length (int): Images that it sees, in multiples of the others'.
        seeds (int, optional): At most so many runs, unless it is asked for by name (0: only then);
            None: one per seed.
    """

    name: str
    title: str
    groups: tuple[str, ...]
    options: dict = field(default_factory=dict)
    config: str = CODE
    level: str = 'hard'
    trained: bool = True
    length: int = 1
    seeds: int | None = None


def _untrained(name: str, title: str, groups: tuple, options: dict | None = None, **fields):
    return Variant(name, title, groups, options or {}, MASKCLIP, trained=False, **fields)


def _dense_clip(title: str, attention: str) -> Variant:
    return _untrained(
        title.lower(),
        f'{title} (no training)',
        ('methods',),
        {**_DENSE_CLIP, 'model.backbone.dense_attention': dict(type=attention)},
    )


def _longer(times: int, words: str) -> tuple[Variant, Variant]:
    """The main comparison with more iterations."""
    title, rest = f'{words} the iterations', dict(groups=('longer',), length=times, seeds=0)
    return (
        Variant(
            f'segmenter_only_{times}x',
            f'image segmenter only, {title}',
            options=_SEGMENTER_ONLY,
            **rest,
        ),
        Variant(f'code_{times}x', f'CoDe, {title}', **rest),
    )


# In the order in which they are run: what the main question needs comes first.
VARIANTS = (
    _untrained('maskclip', 'MaskCLIP (no training)', ('main', 'methods')),
    _untrained(
        'maskclip_names',
        'MaskCLIP, background by its names',
        ('main',),
        {
            'model.background_threshold': None,
            'custom_hooks.0.class_names': ['|'.join(BACKGROUNDS), *NOUNS],
        },
    ),
    Variant(
        'segmenter_only',
        'image segmenter only',
        ('main', 'readings', 'co_decomposition', 'longer', 'methods'),
        _SEGMENTER_ONLY,
    ),
    Variant(
        'code',
        'CoDe (C+W+R)',
        (
            *('main', 'readings', 'co_decomposition', 'hcl_weight', 'noun_count', 'choices'),
            *('longer', 'methods'),
        ),
    ),
    Variant(
        'co_decomposition',
        'C',
        ('co_decomposition',),
        {**_FIXED_REGIONS, 'model.co_decomposition.word_prompt.learnable': False},
    ),
    Variant('co_decomposition_word_prompt', 'C+W', ('co_decomposition',), _FIXED_REGIONS),
    _dense_clip('SCLIP', 'CorrelativeSelfAttention'),
    _dense_clip('ClearCLIP', 'SelfSelfAttention'),
    _dense_clip('NACLIP', 'NeighbourhoodAttention'),
    Variant(
        'code_naclip', 'CoDe from NACLIP', ('methods',), _started_from('NeighbourhoodAttention')
    ),
    Variant(
        'segmenter_only_naclip',
        'image segmenter only, from NACLIP',
        ('methods',),
        {**_SEGMENTER_ONLY, **_started_from('NeighbourhoodAttention')},
    ),
    Variant('tcl', 'TCL', ('methods',), config='projects/tcl/configs/tcl_shapes-hard.py'),
    *(
        Variant(
            f'hcl_weight_{weight}',
            f'λ_hcl = {weight}',
            ('hcl_weight',),
            {'model.co_decomposition.losses.region_word.loss_weight': weight},
        )
        for weight in (0.05, 0.1, 0.25, 0.75, 1.0)
    ),
    Variant(
        'noun_alignment',
        'regions aligned with single nouns (§4.4)',
        ('choices',),
        {'model.co_decomposition.losses.region_word.text': 'nouns'},
    ),
    Variant(
        'guide_squared_l2',
        'L_kg as squared L2 distance (Eq. 3.1)',
        ('choices',),
        {'model.co_decomposition.losses.knowledge_guided.mode': 'squared_l2'},
    ),
    Variant(
        'pseudo_label_argmax',
        'pseudo labels of words by arg-max (§3.2)',
        ('choices',),
        {'model.co_decomposition.losses.word_segmentation.pseudo_label': 'argmax'},
    ),
    *(
        Variant(
            f'nouns_{number}',
            f'J = {number}',
            ('noun_count',),
            {'train_dataloader.dataset.pipeline.1.num_nouns': number},
        )
        for number in (1, 3)
    ),
    Variant(
        'code_sclip', 'CoDe from SCLIP', ('methods',), _started_from('CorrelativeSelfAttention')
    ),
    Variant(
        'code_clearclip', 'CoDe from ClearCLIP', ('methods',), _started_from('SelfSelfAttention')
    ),
    *_longer(2, 'twice'),
    *_longer(4, 'four times'),
    _untrained('maskclip_easy', 'MaskCLIP (no training), easy world', ('easy',), level='easy'),
    Variant(
        'segmenter_only_easy',
        'image segmenter only, easy world',
        ('easy',),
        _SEGMENTER_ONLY,
        level='easy',
        seeds=1,
    ),
    Variant('code_easy', 'CoDe, easy world', ('easy',), level='easy', seeds=1),
)
