"""A checkpoint that is not there is named before anything is built."""

import pytest
import torch
from mmengine.runner import CheckpointLoader
from safetensors.torch import save_file

from code_mm.engine.checkpoint_check import (
    names_pretrained_weights,
    read_local_files_inertly,
    require_checkpoint,
)


def test_an_existing_file_and_urls_pass(tmp_path):
    file = tmp_path / 'iter_2.pth'
    file.touch()
    require_checkpoint(str(file))
    for url in ('https://host/a.pth', 's3://bucket/a.pth', 'torchvision://resnet50', 'local:a'):
        require_checkpoint(url)


def test_a_missing_file_is_named_with_the_nearest(tmp_path):
    (tmp_path / 'iter_200.pth').touch()
    with pytest.raises(FileNotFoundError, match=r"iter_20\.pth' does not.*did you mean.*iter_200"):
        require_checkpoint(str(tmp_path / 'iter_20.pth'))
    with pytest.raises(FileNotFoundError, match='nor does its folder'):
        require_checkpoint(str(tmp_path / 'no' / 'iter_20.pth'))


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(IsADirectoryError, match='expected a checkpoint file'):
        require_checkpoint(str(tmp_path))


@pytest.mark.parametrize(
    ('model', 'found'),
    [
        ({'type': 'A', 'init_cfg': {'type': 'Pretrained', 'checkpoint': 'a.pth'}}, True),
        ({'parts': [{'b': {'init_cfg': [{'type': 'Pretrained', 'checkpoint': 'a'}]}}]}, True),
        ({'backbone': {'pretrained': 'a.pth'}}, True),
        ({'backbone': {'pretrained': None}}, False),
        ({'init_cfg': {'type': 'Pretrained', 'checkpoint': None}}, False),
        ({'init_cfg': {'type': 'Normal', 'std': 1.0}}, False),
    ],
)
def test_weights_named_by_a_config_are_found(model, found):
    assert names_pretrained_weights(model) is found


def test_mmengine_reads_local_files_with_our_reader(tmp_path):
    schemes = CheckpointLoader._schemes
    others = {prefix: loader for prefix, loader in schemes.items() if prefix}
    read_local_files_inertly()
    save_file({'a': torch.ones(2)}, tmp_path / 'x.safetensors', {'k': 'v'})
    content = CheckpointLoader.load_checkpoint(str(tmp_path / 'x.safetensors'))
    assert torch.equal(content['state_dict']['a'], torch.ones(2))
    assert content['meta'] == {'k': 'v'}
    assert {p: f for p, f in CheckpointLoader._schemes.items() if p} == others  # URLs
