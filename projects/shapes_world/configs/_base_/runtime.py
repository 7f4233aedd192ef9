"""Every run of this project: the settings of all runs, and the world's own parts."""

_base_ = '../../../../configs/_base_/default_runtime.py'

custom_imports = dict(imports=['code_mm', 'projects.shapes_world'])
