"""Tiny CLIPs in the layouts of others, with forward passes that know nothing of this project.

Each class makes random weights under the true names of a layout and embeds with them, written
from the architectures' descriptions in plain PyTorch.
"""

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


def _norm(state, name, x):
    return F.layer_norm(x, x.shape[-1:], state[f'{name}.weight'], state[f'{name}.bias'])


def _linear(state, name, x):
    return F.linear(x, state[f'{name}.weight'], state[f'{name}.bias'])


class HuggingFace:
    """``transformers.CLIPModel``: separate query, key and value; index buffers."""

    def __init__(self, activation='quick_gelu', seed=0):
        s, w = SIZES, Weights(seed)
        self.state, self.act = w, ACTIVATIONS[activation]
        w.draw('logit_scale')
        vision, text = 'vision_model.', 'text_model.'
        w.draw(f'{vision}embeddings.class_embedding', s['vision_width'])
        w.draw(f'{vision}embeddings.patch_embedding.weight', s['vision_width'], 3, 8, 8)
        w.draw(f'{vision}embeddings.position_embedding.weight', 10, s['vision_width'])
        w[f'{vision}embeddings.position_ids'] = torch.arange(10)[None]
        w.norm(f'{vision}pre_layrnorm', s['vision_width'])
        w.norm(f'{vision}post_layernorm', s['vision_width'])
        w.draw('visual_projection.weight', s['embed_dim'], s['vision_width'])
        w.draw(f'{text}embeddings.token_embedding.weight', s['vocab_size'], s['text_width'])
        w.draw(f'{text}embeddings.position_embedding.weight', 10, s['text_width'])
        w[f'{text}embeddings.position_ids'] = torch.arange(10)[None]
        w.norm(f'{text}final_layer_norm', s['text_width'])
        w.draw('text_projection.weight', s['embed_dim'], s['text_width'])
        for prefix, tower in ((vision, 'vision'), (text, 'text')):
            width = s[f'{tower}_width']
            for layer in range(s[f'{tower}_layers']):
                name = f'{prefix}encoder.layers.{layer}.'
                for part in 'kvq':
                    w.linear(f'{name}self_attn.{part}_proj', width, width)
                w.linear(f'{name}self_attn.out_proj', width, width)
                w.norm(f'{name}layer_norm1', width)
                w.linear(f'{name}mlp.fc1', 4 * width, width)
                w.linear(f'{name}mlp.fc2', width, 4 * width)
                w.norm(f'{name}layer_norm2', width)

    def _layers(self, prefix, x, layers, heads, mask=None):
        for layer in range(layers):
            name = f'{prefix}encoder.layers.{layer}.'
            y = _norm(self.state, f'{name}layer_norm1', x)
            q, k, v = (
                _linear(self.state, f'{name}self_attn.{part}_proj', y)
                .unflatten(-1, (heads, -1))
                .transpose(1, 2)
                for part in 'qkv'
            )
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            y = (weights @ v).transpose(1, 2).flatten(2)
            x = x + _linear(self.state, f'{name}self_attn.out_proj', y)
            y = self.act(
                _linear(self.state, f'{name}mlp.fc1', _norm(self.state, f'{name}layer_norm2', x))
            )
            x = x + _linear(self.state, f'{name}mlp.fc2', y)
        return x

    def embed_image(self, image):
        s, prefix = self.state, 'vision_model.'
        x = F.conv2d(image, s[f'{prefix}embeddings.patch_embedding.weight'], stride=8)
        x = x.flatten(2).transpose(1, 2)
        first = s[f'{prefix}embeddings.class_embedding'].expand(len(x), 1, -1)
        x = torch.cat([first, x], 1) + s[f'{prefix}embeddings.position_embedding.weight']
        x = _norm(s, f'{prefix}pre_layrnorm', x)
        x = self._layers(prefix, x, SIZES['vision_layers'], SIZES['vision_heads'])
        return _norm(s, f'{prefix}post_layernorm', x[:, 0]) @ s['visual_projection.weight'].T

    def embed_text(self, ids):
        s, prefix = self.state, 'text_model.'
        x = s[f'{prefix}embeddings.token_embedding.weight'][ids]
        x = x + s[f'{prefix}embeddings.position_embedding.weight'][: ids.shape[1]]
        mask = torch.full((ids.shape[1],) * 2, -torch.inf).triu(1)
        x = self._layers(prefix, x, SIZES['text_layers'], SIZES['text_heads'], mask)
        x = _norm(s, f'{prefix}final_layer_norm', x)
        return x[torch.arange(len(x)), ids.argmax(1)] @ s['text_projection.weight'].T

    def config(self, activation):
        s = SIZES
        return dict(
            model_type='clip',
            projection_dim=s['embed_dim'],
            text_config=dict(hidden_act=activation, num_attention_heads=s['text_heads']),
            vision_config=dict(hidden_act=activation, num_attention_heads=s['vision_heads']),
        )


class OpenCLIP:
    """open_clip's ``CLIP``: OpenAI's names, fused attention, and a causal mask as a buffer."""

    def __init__(self, activation='gelu', seed=0, text_prefix=''):
        s, w = SIZES, Weights(seed)
        self.state, self.act, self.text = w, ACTIVATIONS[activation], text_prefix
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

    def _layers(self, prefix, x, layers, heads, mask=None):
        s = self.state
        for layer in range(layers):
            name = f'{prefix}transformer.resblocks.{layer}.'
            attention = nn.MultiheadAttention(x.shape[-1], heads, batch_first=True)
            attention.load_state_dict(
                {
                    k.removeprefix(f'{name}attn.'): v
                    for k, v in s.items()
                    if k.startswith(f'{name}attn.')
                }
            )
            y = _norm(s, f'{name}ln_1', x)
            x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0]
            y = self.act(_linear(s, f'{name}mlp.c_fc', _norm(s, f'{name}ln_2', x)))
            x = x + _linear(s, f'{name}mlp.c_proj', y)
        return x

    def embed_image(self, image):
        s = self.state
        x = F.conv2d(image, s['visual.conv1.weight'], stride=8).flatten(2).transpose(1, 2)
        x = torch.cat([s['visual.class_embedding'].expand(len(x), 1, -1), x], 1)
        x = _norm(s, 'visual.ln_pre', x + s['visual.positional_embedding'])
        x = self._layers('visual.', x, SIZES['vision_layers'], SIZES['vision_heads'])
        return _norm(s, 'visual.ln_post', x[:, 0]) @ s['visual.proj']

    def embed_text(self, ids):
        s, t = self.state, self.text
        x = s[f'{t}token_embedding.weight'][ids] + s[f'{t}positional_embedding']
        x = self._layers(t, x, SIZES['text_layers'], SIZES['text_heads'], s[f'{t}attn_mask'])
        x = _norm(s, f'{t}ln_final', x)[torch.arange(len(x)), ids.argmax(1)]
        return x @ s[f'{t}text_projection']

    def config(self, quick_gelu=None):
        s = SIZES
        vision = dict(
            image_size=s['image_size'],
            layers=s['vision_layers'],
            width=s['vision_width'],
            head_width=s['vision_width'] // s['vision_heads'],
            patch_size=s['patch_size'],
        )
        text = dict(width=s['text_width'], heads=s['text_heads'], layers=s['text_layers'])
        model = dict(embed_dim=s['embed_dim'], vision_cfg=vision, text_cfg=text)
        if quick_gelu is not None:
            model['quick_gelu'] = quick_gelu
        return dict(model_cfg=model, preprocess_cfg=dict(mean=[0.5], std=[0.5]))
