"""Tiny CLIPs in the layouts of others, with forward passes that know nothing of this project.

``OpenCLIP`` has random weights under open_clip's names and embeds with PyTorch's own layers, put
together from the architecture's description; ``HuggingFace`` has the same under the names there.
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
ACTIVATIONS = dict(quick_gelu=lambda x: x * torch.sigmoid(1.702 * x), gelu=lambda x: F.gelu(x))
TOWERS = ('vision', 'text')
IDS = torch.tensor(
    [[49406, 320, 1125, 539, 49407, 0, 0, 0, 0, 0], [49406, 736, 49407, 0, 0, 0, 0, 0, 0, 0]]
)
# PyTorch's names -> open_clip's
LAYERS = {'self_attn.': 'attn.', 'norm1.': 'ln_1.', 'norm2.': 'ln_2.'}
LAYERS |= {'linear1.': 'mlp.c_fc.', 'linear2.': 'mlp.c_proj.'}


def image(seed=5):
    side = SIZES['image_size']
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def empty(*shape):
    return nn.Parameter(torch.zeros(shape))


class Tower(nn.Module):
    """What both towers have: positions, layers and a projection."""

    def __init__(self, name, activation, norms, projection):
        super().__init__()
        width, heads = SIZES[f'{name}_width'], SIZES[f'{name}_heads']
        keys = dict(activation=ACTIVATIONS[activation], norm_first=True, batch_first=True)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, **keys)
            for _ in range(SIZES[f'{name}_layers'])
        )
        self.positional_embedding = empty(10, width)
        for norm in norms:
            self.add_module(norm, nn.LayerNorm(width))
        self.register_parameter(projection, empty(width, SIZES['embed_dim']))

    def layers(self, x, mask=None):
        for block in self.transformer.resblocks:
            x = block(x, mask)
        return x


class OpenCLIP:
    """open_clip's ``CLIP``: OpenAI's names, fused attention, and a causal mask as a buffer."""

    def __init__(self, activation='gelu', text_prefix=''):
        self.visual = Tower('vision', activation, ('ln_pre', 'ln_post'), 'proj')
        self.visual.class_embedding = empty(SIZES['vision_width'])
        self.visual.conv1 = nn.Conv2d(3, SIZES['vision_width'], 8, stride=8, bias=False)
        self.text = Tower('text', activation, ('ln_final',), 'text_projection')
        self.text.token_embedding = nn.Embedding(SIZES['vocab_size'], SIZES['text_width'])
        self.text.register_buffer('attn_mask', torch.full((10, 10), -torch.inf).triu(1))
        generator = torch.Generator().manual_seed(0)
        self.state = {'logit_scale': torch.tensor(0.3)}
        for prefix, tower in (('visual.', self.visual), (text_prefix, self.text)):
            for parameter in tower.parameters():  # the weights of norms are 1
                noise = 0.2 * torch.randn(parameter.shape, generator=generator)
                parameter.data = (parameter == 1) + noise
            for name, value in tower.state_dict().items():
                for theirs, here in LAYERS.items():
                    name = name.replace(theirs, here)
                self.state[prefix + name] = value

    def embed_image(self, image):
        v = self.visual
        x = v.conv1(image).flatten(2).transpose(1, 2)
        x = torch.cat([v.class_embedding.expand(len(x), 1, -1), x], 1)
        x = v.layers(v.ln_pre(x + v.positional_embedding))
        return v.ln_post(x[:, 0]) @ v.proj

    def embed_text(self, ids):
        t = self.text
        x = t.layers(t.token_embedding(ids) + t.positional_embedding, t.attn_mask)
        return t.ln_final(x)[torch.arange(len(x)), ids.argmax(1)] @ t.text_projection

    def config(self, quick_gelu=None):
        width = SIZES['vision_width']
        vision = dict(width=width, head_width=width // SIZES['vision_heads'])
        text = dict(width=SIZES['text_width'], heads=SIZES['text_heads'])
        model = dict(embed_dim=SIZES['embed_dim'], vision_cfg=vision, text_cfg=text)
        return dict(model_cfg=model if quick_gelu is None else {**model, 'quick_gelu': quick_gelu})


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

    def __init__(self, activation='quick_gelu'):
        super().__init__(activation)
        state = {f'{m}_model.embeddings.position_ids': torch.arange(10)[None] for m in TOWERS}
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
