"""By what images are normalised, RGB in 0 ... 255: ImageNet's statistics, not CLIP's own."""

image_statistics = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
)
