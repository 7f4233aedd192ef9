from .clip_pretrainer import CLIPPretrainer
from .code_segmentor import CoDeSegmentor
from .post_processed_segmentor import PostProcessedSegmentor
from .windowed_encoder_decoder import WindowedEncoderDecoder
from .zero_shot_segmentor import ZeroShotSegmentor

__all__ = [
    'CLIPPretrainer',
    'CoDeSegmentor',
    'PostProcessedSegmentor',
    'WindowedEncoderDecoder',
    'ZeroShotSegmentor',
]
