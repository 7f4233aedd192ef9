"""What the authors' release computes on several processes, where it differs from one large batch."""

_base_ = '../code_cc3m-cc12m.py'

model = dict(
    # block 12, frozen when training begins: in stage 2 every process keeps its own
    unsynchronized=['image_segmenter.tail.block.*'],
    co_decomposition=dict(
        losses=dict(
            # regions of other processes are pooled by the masks of those processes' nouns
            region_feature=dict(sync=False),
            # normalised within each process
            area=dict(sync=False),
            negative_area=dict(sync=False),
            word_segmentation=dict(sync=False),
        )
    ),
)
