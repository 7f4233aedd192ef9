"""Golden case 2: Gumbel-sigmoid, and similarity to hard and soft masks."""

import torch

from code_mm.ops import gumbel_sigmoid

CASE = '02_gumbel_sigmoid'


def test_values_and_gradients(golden):
    entry, tensors = golden.case(CASE), golden.tensors(CASE)
    for tau in entry['arguments']['tau']:
        for hard in entry['arguments']['hard']:
            name = f'tau{tau}.{"hard" if hard else "soft"}'
            logits = tensors['logits'].clone().requires_grad_()
            out = gumbel_sigmoid(logits, tensors['uniform_noise'], tau, hard)
            (out * tensors['weights']).sum().backward()
            golden.assert_close(out, tensors[f'{name}.out'], entry, what=f'{name}.out')
            golden.assert_close(logits.grad, tensors[f'{name}.grad_logits'], entry, what=name)


def test_similarity_to_mask(golden):
    tensors = golden.tensors(CASE)
    inputs = {key: tensors[f'sim2mask.{key}'].clone().requires_grad_() for key in ('sim', 'w', 'b')}
    logits = inputs['w'] * inputs['sim'] + inputs['b']
    hard = gumbel_sigmoid(logits, tensors['uniform_noise'])
    soft = logits.sigmoid()
    weights = tensors['weights']
    ((hard * weights).sum() + (soft * weights.flip(0)).sum()).backward()

    golden.assert_close(hard, tensors['sim2mask.hard'], CASE, what='hard')
    golden.assert_close(soft, tensors['sim2mask.soft'], CASE, what='soft')
    plain = gumbel_sigmoid(logits, torch.full_like(logits, 0.5))
    golden.assert_close(plain, tensors['sim2mask.deterministic_hard'], CASE, what='no noise')
    for key, value in inputs.items():
        golden.assert_close(value.grad, tensors[f'sim2mask.grad_{key}'], CASE, what=f'grad_{key}')
