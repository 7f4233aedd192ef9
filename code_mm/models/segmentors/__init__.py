from .caption_aligned_segmentor import CaptionAlignedSegmentor
from .code_segmentor import CoDeSegmentor
from .post_processed_segmentor import PostProcessedSegmentor
from .region_word_alignment import RegionWordAlignment
from .windowed_encoder_decoder import WindowedEncoderDecoder
from .zero_shot_segmentor import ZeroShotSegmentor

__all__ = [
    'CaptionAlignedSegmentor',
    'CoDeSegmentor',
    'PostProcessedSegmentor',
    'RegionWordAlignment',
    'WindowedEncoderDecoder',
    'ZeroShotSegmentor',
]
