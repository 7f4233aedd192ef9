"""What the tools in ``tools/dataset_converters`` run offline."""
