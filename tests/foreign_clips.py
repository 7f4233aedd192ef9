"""Tiny CLIPs in the layouts of others, with forward passes that know nothing of this project.

``OpenCLIP`` makes random weights under open_clip's names and embeds with them, written from the
architecture's description in plain PyTorch; ``HuggingFace`` has the same under the names there.
"""

import re

import torch
import torch.nn.functional as F
from torch import nn

SIZES = dict(
    embed_dim=12,
    image_size=24,
    patch_size=8,
    vision_width=20,
    vision_layers=3,
    vision_heads=5,
    context_length=10,
    vocab_size=49408,
    text_width=16,
    text_layers=2,
    text_heads=2,
)
ACTIVATIONS = dict(
    quick_gelu=lambda x: x * torch.sigmoid(1.702 * x),
    gelu=lambda x: F.gelu(x),
)
TOWERS = ('vision', 'text')
IDS = torch.tensor(
    [[49406, 320, 1125, 539, 49407, 0, 0, 0, 0, 0], [49406, 736, 49407, 0, 0, 0, 0, 0, 0, 0]]
)


def image(seed=5):
    side = SIZES['image_size']
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


class Weights(dict):
    """Random tensors by name; none is 0 or 1."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, name, *shape, std=0.2):
        self[name] = std * torch.randn(shape, generator=self.generator)
        return self[name]

    def norm(self, name, width):
        self.draw(f'{name}.weight', width).add_(1)
        self.draw(f'{name}.bias', width)

    def linear(self, name, rows, columns):
        self.draw(f'{name}.weight', rows, columns)
        self.draw(f'{name}.bias', rows)


class OpenCLIP:
    """open_clip's ``CLIP``: OpenAI's names, fused attention, and a causal mask as a buffer."""

    def __init__(self, activation='gelu', seed=0, text_prefix=''):
        s, w = SIZES, Weights(seed)
        self.state = self.weights = w
        self.act, self.text = ACTIVATIONS[activation], text_prefix
        t = text_prefix
        w.draw('logit_scale')
        w.draw('visual.class_embedding', s['vision_width'])
        w.draw('visual.positional_embedding', 10, s['vision_width'])
        w.draw('visual.proj', s['vision_width'], s['embed_dim'])
        w.draw('visual.conv1.weight', s['vision_width'], 3, 8, 8)
        w.norm('visual.ln_pre', s['vision_width'])
        w.norm('visual.ln_post', s['vision_width'])
        w.draw(f'{t}positional_embedding', 10, s['text_width'])
        w.draw(f'{t}text_projection', s['text_width'], s['embed_dim'])
        w.draw(f'{t}token_embedding.weight', s['vocab_size'], s['text_width'])
        w.norm(f'{t}ln_final', s['text_width'])
        w[f'{t}attn_mask'] = torch.full((10, 10), -torch.inf).triu(1)
        for prefix, tower in (('visual.', 'vision'), (t, 'text')):
            width = s[f'{tower}_width']
            for layer in range(s[f'{tower}_layers']):
                name = f'{prefix}transformer.resblocks.{layer}.'
                w.norm(f'{name}ln_1', width)
                w.draw(f'{name}attn.in_proj_weight', 3 * width, width)
                w.draw(f'{name}attn.in_proj_bias', 3 * width)
                w.linear(f'{name}attn.out_proj', width, width)
                w.norm(f'{name}ln_2', width)
                w.linear(f'{name}mlp.c_fc', 4 * width, width)
                w.linear(f'{name}mlp.c_proj', width, 4 * width)

    def _below(self, prefix):
        own = self.weights.items()
        return {k.removeprefix(prefix): v for k, v in own if k.startswith(prefix)}

    def _norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], **self._below(f'{name}.'))

    def _linear(self, name, x):
        return F.linear(x, **self._below(f'{name}.'))

    def _layers(self, prefix, x, layers, heads, mask=None):
        for layer in range(layers):
            name = f'{prefix}transformer.resblocks.{layer}.'
            attention = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True)
            attention.load_state_dict(self._below(f'{name}attn.'))
            y = self._norm(f'{name}ln_1', x)
            x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
            y = self.act(self._linear(f'{name}mlp.c_fc', self._norm(f'{name}ln_2', x)))
            x = x + self._linear(f'{name}mlp.c_proj', y)
        return x

    def embed_image(self, image):
        w = self.weights
        x = F.conv2d(image, w['visual.conv1.weight'], stride=8).flatten(2).transpose(1, 2)
        x = torch.cat([w['visual.class_embedding'].expand(len(x), 1, -1), x], 1)
        x = self._norm('visual.ln_pre', x + w['visual.positional_embedding'])
        x = self._layers('visual.', x, SIZES['vision_layers'], SIZES['vision_heads'])
        return self._norm('visual.ln_post', x[:, 0]) @ w['visual.proj']

    def embed_text(self, ids):
        w, t = self.weights, self.text
        x = w[f'{t}token_embedding.weight'][ids] + w[f'{t}positional_embedding']
        x = self._layers(t, x, SIZES['text_layers'], SIZES['text_heads'], w[f'{t}attn_mask'])
        x = self._norm(f'{t}ln_final', x)[torch.arange(len(x)), ids.argmax(1)]
        return x @ w[f'{t}text_projection']

    def config(self, quick_gelu=None):
        s = SIZES
        width = s['vision_width']
        vision = dict(width=width, head_width=width // s['vision_heads'])
        text = dict(width=s['text_width'], heads=s['text_heads'])
        model = dict(embed_dim=s['embed_dim'], vision_cfg=vision, text_cfg=text)
        if quick_gelu is not None:
            model['quick_gelu'] = quick_gelu
        return dict(model_cfg=model)


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


class HuggingFace(OpenCLIP):
    """``transformers.CLIPModel``: separate query, key and value; index buffers."""

    def __init__(self, activation='quick_gelu', seed=0):
        super().__init__(activation, seed)
        self.state = {f'{m}_model.embeddings.position_ids': torch.arange(10)[None] for m in TOWERS}
        for name, value in self.weights.items():
            for theirs, here in TRANSFORMERS:
                if re.match(theirs, name):
                    name = re.sub(theirs, here, name, count=1)
                    break
            for theirs, here in BLOCK.items():
                name = name.replace(f'.{theirs}.', f'.{here}.')
            if 'in_proj_' in name:
                for part, rows in zip('qkv', value.chunk(3), strict=True):
                    self.state[name.replace('attn.in_proj_', f'self_attn.{part}_proj.')] = rows
            elif name != 'attn_mask':
                self.state[name] = value.T.contiguous() if '_projection' in name else value

    def config(self, activation):
        heads = {m: SIZES[f'{m}_heads'] for m in TOWERS}
        return {
            f'{m}_config': dict(hidden_act=activation, num_attention_heads=heads[m]) for m in TOWERS
        }
