"""``compile = ...`` in a config: MMEngine hands the training step to torch.compile."""

import pytest
import torch
from mmengine.runner import Runner
from tiny_model import caption_samples, code_config, images
from torch_release import IS_OLD


def weights_after_training(work_dir, **keys):
    pairs = [
        dict(inputs=image, data_samples=sample)
        for image, sample in zip(images(2, 32, 32), caption_samples(), strict=True)
    ]
    runner = Runner(
        model=code_config(data_preprocessor=dict(type='SegDataPreProcessor', size=(32, 32))),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=pairs,
            batch_size=2,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='pseudo_collate'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-2)),
        custom_hooks=[dict(type='RandomStateHook')],
        default_scope='mmseg',
        randomness=dict(seed=0),
        cfg=keys,
    )
    with torch.no_grad():  # away from zero, as the prompts start there
        for parameter in runner.model.parameters():
            parameter.add_(0.05)
    runner.train()
    return runner.model.state_dict()


@pytest.mark.skipif(IS_OLD, reason='torch 2.1 cannot trace it')
@pytest.mark.filterwarnings('ignore')
def test_a_compiled_step_learns_the_same(tmp_path):
    plain = weights_after_training(tmp_path / 'plain')
    # 'eager' runs what torch.compile traced as it is: the graphs are tested, no compiler's code
    compiled = weights_after_training(tmp_path / 'compiled', compile=dict(backend='eager'))
    assert plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5, msg=name)
