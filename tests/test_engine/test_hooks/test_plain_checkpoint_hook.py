from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import torch

from code_mm.engine.hooks import PlainCheckpointHook


def test_numpy_scalars_do_not_spoil_a_checkpoint_for_others(tmp_path):
    """What ``CheckpointHook(save_best=...)`` leaves in the message hub."""
    info = OrderedDict(best_score=np.float32(0.5), best_ckpt='x.pth', history=[(np.int64(3), 'a')])
    checkpoint = dict(message_hub=dict(runtime_info=info), meta=dict(iter=2), state_dict={})
    PlainCheckpointHook().before_save_checkpoint(SimpleNamespace(), checkpoint)
    torch.save(checkpoint, tmp_path / 'iter_2.pth')
    found = torch.load(tmp_path / 'iter_2.pth', weights_only=True)['message_hub']['runtime_info']
    assert found == dict(best_score=0.5, best_ckpt='x.pth', history=[(3, 'a')])
    assert type(found['best_score']) is float
