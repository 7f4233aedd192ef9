"""What SCLIP's protocol fixes (Wang et al., ECCV 2024), for the check of named protocols."""

from pathlib import Path

from code_mm.evaluation.protocol import PROTOCOLS
from code_mm.vocabulary import ClassNameFile, get_templates

CLASS_NAMES = Path(__file__).parent / 'class_names'


def sclip(benchmark: str) -> dict:
    """Settings on a benchmark, as SCLIP's authors' code has them."""
    own = dict(
        voc21=dict(scale=65.0, min_score=0.1, min_share=0.1),
        context60=dict(scale=50.0, min_score=0.1),
        coco_object=dict(scale=50.0, min_score=0.1),
    )
    scores = dict(type='SoftmaxOverNames', scale=40.0, min_score=None, min_share=None)
    side = dict(cityscapes=560, coco_stuff=448).get(benchmark, 336)
    file = ClassNameFile.read(CLASS_NAMES / f'sclip_{benchmark}.txt')
    return {
        'resize': dict(scale=[2048, side], keep_ratio=True),
        'window': dict(mode='slide', crop_size=[224, 224], stride=[112, 112]),
        'class names': dict(sha256=file.sha256),
        'background_threshold': None,
        'name_scores': {**scores, **own.get(benchmark, {})},
        'templates': list(get_templates('imagenet')),
        'post_processor': None,
        'knowledge_preserving': None,
    }


PROTOCOLS['sclip'] = sclip
