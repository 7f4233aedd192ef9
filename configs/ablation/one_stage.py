"""The thesis' literal schedule: one stage, CLIP's last block learns from the start."""

_base_ = '../code_cc3m-cc12m.py'

custom_hooks = [dict(type='ClassNamesHook'), dict(type='RandomStateHook')]
