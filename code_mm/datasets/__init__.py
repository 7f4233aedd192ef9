from .shapes_world_dataset import ShapesWorldDataset  # noqa: F401
