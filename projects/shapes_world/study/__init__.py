"""The thesis' ablations on the shapes world: `make study`."""
