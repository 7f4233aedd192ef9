"""Tar shards of image-caption pairs: names, index, reading."""
