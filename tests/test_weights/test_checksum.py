import hashlib

import torch
from torch import nn

from code_mm.weights import weights_sha256


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.b = nn.Parameter(torch.tensor([[1.0, 2.0]]))
        self.register_buffer('a', torch.tensor(3))
        self.register_buffer('unsaved', torch.rand(2), persistent=False)


def test_the_sum_is_that_of_names_types_shapes_and_bytes():
    text = b'a torch.int64 ()\n' + (3).to_bytes(8, 'little')
    text += b'b torch.float32 (1, 2)\n' + bytes.fromhex('0000803f00000040')
    assert weights_sha256(Model()) == hashlib.sha256(text).hexdigest()


def test_non_contiguous_and_empty_tensors():
    model = Model()
    before = weights_sha256(model)
    model.b.data = torch.tensor([[1.0], [2.0]]).T
    assert weights_sha256(model) == before
    model.b.data = torch.empty(0, 2)
    assert weights_sha256(model) != before
