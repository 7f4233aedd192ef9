"""The variants of the study: what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass, field

BASE = 'configs/shapes/code_shapes-hard.py'
DISTINCT_NOUNS = 'projects/shapes_study/distinct_nouns.py'
CUT_OUT_CLIP = 'projects/shapes_study/cut_out_clip.py'
_NO_WARM_UP = {'custom_hooks.2.stages': [dict(begin=0, freeze=[])]}
_SEGMENTER_ONLY = {
    'model.text_segmenter': None,
    'model.word_prompt': None,
    'model.region_prompt.learnable': False,
    'model.losses.word_segmentation': None,
    'model.losses.region_word': None,
    **_NO_WARM_UP,
}

# From the second stage on, words in the place of the image level's nouns: the same total weight.
_WORDS_FOR_NOUNS = {
    'custom_hooks.2.stages': [
        dict(begin=0, freeze=[], loss_weights=dict(region_word=0.0)),
        dict(begin=1, freeze=[], loss_weights=dict(region_image=0.0)),
    ]
}

# region_feature and region_image as in the thesis; the demo's are larger (configs/_base_/models).
_THESIS_WEIGHTS = {
    'model.losses.region_feature.loss_weight': 0.1,
    'model.losses.region_image.loss_weight': 0.1,
}


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    Args:
        name: Key in ``docs/study.json``.
        title: What the tables call it.
        groups: Tables that it belongs to.
        config: From the project's root.
        options: Keys of the config that it changes.
        level: Shapes world that it learns and is scored on.
        clip: Config that trains the CLIP under it; None: the one that ships.
        trained: Whether it learns anything; then there is one run per seed.
        length: Images that it sees, in multiples of the others'.
        split: Its batches are so many times smaller than the others', and as many more.
        seeds: At most so many runs, unless it is asked for by name (0: only then); None: one per
            seed.
    """

    name: str
    title: str
    groups: tuple[str, ...]
    config: str = BASE
    options: dict = field(default_factory=dict)
    level: str = 'hard'
    clip: str | None = None
    trained: bool = True
    length: int = 1
    split: int = 1
    seeds: int | None = None


def _hcl_weight(weight: float) -> Variant:
    options = {'model.losses.region_word.loss_weight': weight}
    return Variant(f'hcl_weight_{weight}', f'λ_hcl = {weight}', ('hcl_weight',), options=options)


def _method(name: str, title: str) -> Variant:
    config = f'configs/shapes/{name}_shapes-hard.py'
    return Variant(name, f'{title} (no training)', ('methods',), config, trained=False)


def _started_from(name: str, title: str, attention: str) -> Variant:
    options = {'model.image_segmenter.dense_attention': dict(type=attention)}
    return Variant(f'code_{name}', f'CoDe from {title}', ('methods',), options=options)


def _distinct_nouns(name: str, title: str, options: dict, distinct: bool = True) -> Variant:
    config = DISTINCT_NOUNS if distinct else BASE
    return Variant(name, title, ('false_negatives',), config, options, split=2, seeds=0)


def _longer(times: int, words: str) -> tuple[Variant, Variant]:
    """The main comparison with more iterations."""
    title = f'{words} the iterations'
    rest = dict(groups=('longer',), length=times, seeds=0)
    return (
        Variant(
            f'segmenter_only_{times}x',
            f'image segmenter only, {title}',
            options=_SEGMENTER_ONLY,
            **rest,
        ),
        Variant(f'code_{times}x', f'CoDe, {title}', **rest),
    )


def _image_level(weight: float) -> Variant:
    """The image segmenter alone with another weight of the InfoNCE on highlighted regions."""
    return Variant(
        f'segmenter_only_image_level_{weight}',
        f'image segmenter only, image level {weight} (nouns)',
        ('image_level',),
        options={**_SEGMENTER_ONLY, 'model.losses.region_image.loss_weight': weight},
    )


def _on_cut_outs(name: str, title: str, options: dict, **fields) -> Variant:
    """On the CLIP that knows cut-outs."""
    return Variant(
        f'{name}_cut_outs',
        f'{title}; CLIP of cut-outs',
        ('cut_outs',),
        options=options,
        clip=CUT_OUT_CLIP,
        seeds=0,
        **fields,
    )


def _noun_count(number: int) -> Variant:
    options = {'train_dataloader.dataset.pipeline.1.num_nouns': number}
    return Variant(f'nouns_{number}', f'J = {number}', ('noun_count',), options=options)


# In the order in which they are run: what the main question needs comes first.
VARIANTS = (
    Variant(
        'maskclip',
        'MaskCLIP (no training)',
        ('main', 'cut_outs', 'methods'),
        'configs/shapes/maskclip_shapes-hard.py',
        trained=False,
    ),
    Variant(
        'maskclip_names',
        'MaskCLIP, background by its names',
        ('main',),
        'configs/shapes/maskclip_shapes-hard_names.py',
        trained=False,
    ),
    Variant(
        'segmenter_only',
        'image segmenter only',
        (
            *('main', 'readings', 'co_decomposition', 'image_level', 'cut_outs'),
            *('false_negatives', 'longer', 'reasons', 'methods'),
        ),
        options=_SEGMENTER_ONLY,
    ),
    Variant(
        'code',
        'CoDe (C+W+R)',
        (
            *('main', 'readings', 'co_decomposition', 'hcl_weight', 'noun_count', 'choices'),
            *('image_level', 'cut_outs', 'false_negatives', 'longer', 'reasons', 'methods'),
        ),
    ),
    Variant(
        'co_decomposition',
        'C',
        ('co_decomposition',),
        options={'model.region_prompt.learnable': False, 'model.word_prompt.learnable': False},
    ),
    Variant(
        'co_decomposition_word_prompt',
        'C+W',
        ('co_decomposition',),
        options={'model.region_prompt.learnable': False},
    ),
    _method('sclip', 'SCLIP'),
    _method('clearclip', 'ClearCLIP'),
    _method('naclip', 'NACLIP'),
    _started_from('naclip', 'NACLIP', 'NeighbourhoodAttention'),
    Variant(
        'segmenter_only_naclip',
        'image segmenter only, from NACLIP',
        ('methods',),
        options={
            **_SEGMENTER_ONLY,
            'model.image_segmenter.dense_attention': dict(type='NeighbourhoodAttention'),
        },
    ),
    Variant('tcl', 'TCL', ('methods',), 'configs/shapes/tcl_shapes-hard.py'),
    *(_hcl_weight(weight) for weight in (0.05, 0.1, 0.25, 0.75, 1.0)),
    Variant(
        'noun_alignment',
        'regions aligned with single nouns (§4.4)',
        ('choices', 'image_level'),
        options={'model.alignment_text': 'noun'},
    ),
    Variant(
        'guide_squared_l2',
        'L_kg as squared L2 distance (Eq. 3.1)',
        ('choices',),
        options={'model.losses.knowledge_guided.mode': 'squared_l2'},
    ),
    Variant(
        'pseudo_label_argmax',
        'pseudo labels of words by arg-max (§3.2)',
        ('choices',),
        options={'model.losses.word_segmentation.pseudo_label': 'argmax'},
    ),
    Variant(
        'true_word_labels',
        'text segmenter told the true words',
        ('reasons',),
        config='projects/shapes_study/true_words.py',
    ),
    _noun_count(1),
    _noun_count(3),
    _started_from('sclip', 'SCLIP', 'CorrelativeSelfAttention'),
    _started_from('clearclip', 'ClearCLIP', 'SelfSelfAttention'),
    _image_level(0.0),
    _image_level(1.0),
    Variant(
        'words_for_nouns',
        'CoDe, image level 0.5 (words)',
        ('image_level',),
        options=_WORDS_FOR_NOUNS,
    ),
    Variant(
        'true_words_for_nouns',
        'CoDe told the true words, image level 0.5 (words)',
        ('image_level',),
        config='projects/shapes_study/true_words.py',
        options=_WORDS_FOR_NOUNS,
    ),
    _distinct_nouns(
        'segmenter_only_distinct_nouns',
        'image segmenter only, half batches of distinct nouns',
        _SEGMENTER_ONLY,
    ),
    _distinct_nouns('code_distinct_nouns', 'CoDe, half batches of distinct nouns', {}),
    Variant(
        'segmenter_only_thesis_weights',
        "image segmenter only, thesis' loss weights",
        ('reasons',),
        options={**_SEGMENTER_ONLY, **_THESIS_WEIGHTS},
        seeds=1,
    ),
    Variant(
        'code_thesis_weights',
        "CoDe, thesis' loss weights",
        ('reasons',),
        options=_THESIS_WEIGHTS,
        seeds=1,
    ),
    _on_cut_outs(
        'maskclip',
        'MaskCLIP (no training)',
        {},
        config='configs/shapes/maskclip_shapes-hard.py',
        trained=False,
    ),
    _on_cut_outs('segmenter_only', 'image segmenter only', _SEGMENTER_ONLY),
    _on_cut_outs('code', 'CoDe (C+W+R)', {}),
    _on_cut_outs(
        'noun_alignment',
        'regions aligned with single nouns (§4.4)',
        {'model.alignment_text': 'noun'},
    ),
    _on_cut_outs(
        'true_word_labels',
        'text segmenter told the true words',
        {},
        config='projects/shapes_study/true_words.py',
    ),
    *(
        _on_cut_outs(
            f'segmenter_only_image_level_{weight}',
            f'image segmenter only, image level {weight} (nouns)',
            {**_SEGMENTER_ONLY, 'model.losses.region_image.loss_weight': weight},
        )
        for weight in (0.0, 1.0)
    ),
    *_longer(2, 'twice'),
    *_longer(4, 'four times'),
    Variant(
        'maskclip_easy',
        'MaskCLIP (no training), easy world',
        ('easy',),
        'configs/shapes/maskclip_shapes-hard.py',
        level='easy',
        trained=False,
    ),
    Variant(
        'segmenter_only_easy',
        'image segmenter only, easy world',
        ('easy',),
        options=_SEGMENTER_ONLY,
        level='easy',
        seeds=1,
    ),
    Variant('code_easy', 'CoDe, easy world', ('easy',), level='easy', seeds=1),
)
