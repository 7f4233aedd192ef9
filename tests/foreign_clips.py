"""A tiny CLIP under the names of open_clip and of Hugging Face, and the configs beside them."""

import re

import torch
from tiny_model import SIZES as TINY
from tiny_model import build, openai_state

SIZES = {**TINY, 'vision_width': 20, 'vision_heads': 5, 'vocab_size': 49408}
TOWERS = ('vision', 'text')
# open_clip's names -> those of ``transformers.CLIPModel``.
TRANSFORMERS = (
    (r'visual\.class_embedding', 'vision_model.embeddings.class_embedding'),
    (r'visual\.conv1', 'vision_model.embeddings.patch_embedding'),
    (r'visual\.positional_embedding', 'vision_model.embeddings.position_embedding.weight'),
    (r'visual\.ln_pre', 'vision_model.pre_layrnorm'),
    (r'visual\.ln_post', 'vision_model.post_layernorm'),
    (r'visual\.proj', 'visual_projection.weight'),
    (r'visual\.transformer\.resblocks', 'vision_model.encoder.layers'),
    (r'token_embedding', 'text_model.embeddings.token_embedding'),
    (r'positional_embedding', 'text_model.embeddings.position_embedding.weight'),
    (r'ln_final', 'text_model.final_layer_norm'),
    (r'text_projection', 'text_projection.weight'),
    (r'transformer\.resblocks', 'text_model.encoder.layers'),
)
BLOCK = {
    **{'ln_1': 'layer_norm1', 'ln_2': 'layer_norm2', 'mlp.c_fc': 'mlp.fc1'},
    **{'mlp.c_proj': 'mlp.fc2', 'attn.out_proj': 'self_attn.out_proj'},
}


class OpenCLIP:
    """OpenAI's names, and a causal mask as a buffer; ``clip`` is what a file of them gives."""

    def __init__(self, activation='gelu', text_prefix=''):
        self.clip = build(dict(type='CLIP', **SIZES, activation=activation), seed=0)
        top = ('visual.', 'logit_scale')
        state = {**openai_state(self.clip), 'attn_mask': torch.full((24, 24), -torch.inf).triu(1)}
        self.state = {k if k.startswith(top) else text_prefix + k: v for k, v in state.items()}

    def config(self, quick_gelu=None):
        width = SIZES['vision_width']
        vision = dict(width=width, head_width=width // SIZES['vision_heads'])
        text = dict(width=SIZES['text_width'], heads=SIZES['text_heads'])
        model = dict(embed_dim=SIZES['embed_dim'], vision_cfg=vision, text_cfg=text)
        return dict(model_cfg=model if quick_gelu is None else {**model, 'quick_gelu': quick_gelu})


class HuggingFace(OpenCLIP):
    """``transformers.CLIPModel``: separate query, key and value; index buffers."""

    def __init__(self, activation='quick_gelu'):
        super().__init__(activation)
        state = {f'{m}_model.embeddings.position_ids': torch.arange(24)[None] for m in TOWERS}
        for name, value in self.state.items():
            theirs, here = next((t for t in TRANSFORMERS if re.match(t[0], name)), ('', ''))
            name = re.sub(theirs, here, name, count=1)
            for theirs, here in BLOCK.items():
                name = name.replace(f'.{theirs}.', f'.{here}.')
            if 'in_proj_' in name:
                for part, rows in zip('qkv', value.chunk(3), strict=True):
                    state[name.replace('attn.in_proj_', f'self_attn.{part}_proj.')] = rows
            elif name != 'attn_mask':
                state[name] = value.T.contiguous() if '_projection' in name else value
        self.state = state

    def config(self, activation):
        heads = {m: SIZES[f'{m}_heads'] for m in TOWERS}
        return {
            f'{m}_config': dict(hidden_act=activation, num_attention_heads=heads[m]) for m in TOWERS
        }
