from .caption_batch import CaptionBatch

__all__ = ['CaptionBatch']
