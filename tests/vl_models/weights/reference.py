"""CLIP's transformers, BERT and BEiT in plain numpy, on the names of their own programs.

Written from the papers' definitions, with one query, key and value matrix per layer and the
patches cut out one by one: nothing is shared with the layers under test.
"""

import math

import numpy as np

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711])


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def quick_gelu(x):
    return x / (1.0 + np.exp(-1.702 * x))


def gelu(x):
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def layer_norm(x, tensors, name, epsilon=1e-5):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * tensors[f"{name}.weight"] + tensors[
        f"{name}.bias"
    ]


def linear(x, tensors, name):
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def attend(q, k, v, heads, visible, bias=None):
    """One text or image: q, k, v [L, W]; visible bool [L, L]; bias [heads, L, L] of the logits."""
    width = q.shape[1] // heads
    outputs = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[:, part] @ k[:, part].T / math.sqrt(width)
        if bias is not None:
            logits = logits + bias[head]
        logits = np.where(visible, logits, -np.inf)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        outputs.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
    return np.concatenate(outputs, -1)


def resblocks(x, tensors, prefix, heads, visible, activation):
    depth = 1 + max(
        int(name[len(prefix) :].split(".")[0]) for name in tensors if name.startswith(prefix)
    )
    width = x.shape[1]
    for block in range(depth):
        name = f"{prefix}{block}."
        h = layer_norm(x, tensors, f"{name}ln_1")
        weight, bias = tensors[f"{name}attn.in_proj_weight"], tensors[f"{name}attn.in_proj_bias"]
        q, k, v = (
            h @ weight[i * width : (i + 1) * width].T + bias[i * width : (i + 1) * width]
            for i in range(3)
        )
        x = x + linear(attend(q, k, v, heads, visible), tensors, f"{name}attn.out_proj")
        h = activation(linear(layer_norm(x, tensors, f"{name}ln_2"), tensors, f"{name}mlp.c_fc"))
        x = x + linear(h, tensors, f"{name}mlp.c_proj")
    return x


def clip_image(image, tensors, heads, activation=quick_gelu):
    """Unit embedding [D] of uint8 [H, W, 3] by CLIP's vision transformer, `visual.*` names."""
    pixels = (image / 255.0 - MEAN) / DEVIATION
    kernel = tensors["visual.conv1.weight"]  # [W, 3, P, P]
    side = kernel.shape[2]
    tokens = [tensors["visual.class_embedding"]]
    for row in range(0, image.shape[0], side):
        for column in range(0, image.shape[1], side):
            patch = pixels[row : row + side, column : column + side].transpose(2, 0, 1)
            tokens.append((kernel * patch).sum((1, 2, 3)))
    x = np.stack(tokens) + tensors["visual.positional_embedding"]
    x = layer_norm(x, tensors, "visual.ln_pre")
    everything = np.ones((len(x), len(x)), bool)
    x = resblocks(x, tensors, "visual.transformer.resblocks.", heads, everything, activation)
    return unit(layer_norm(x[0], tensors, "visual.ln_post") @ tensors["visual.proj"])


def clip_text(ids, tensors, heads, activation=quick_gelu):
    """Unit embedding [D] of ids [L] by CLIP's text transformer; the end token is the highest."""
    positions = tensors["positional_embedding"][: len(ids)]
    x = tensors["token_embedding.weight"][ids] + positions
    causal = np.tril(np.ones((len(ids), len(ids)), bool))
    x = resblocks(x, tensors, "transformer.resblocks.", heads, causal, activation)
    x = layer_norm(x, tensors, "ln_final")
    return unit(x[int(np.argmax(ids))] @ tensors["text_projection"])


def bert_text(ids, tensors, heads, padding=0):
    """Unit embedding [D] of ids [L] by Chinese-CLIP's text tower, `bert.*` names."""
    x = (
        tensors["bert.embeddings.word_embeddings.weight"][ids]
        + tensors["bert.embeddings.position_embeddings.weight"][: len(ids)]
        + tensors["bert.embeddings.token_type_embeddings.weight"][0]
    )
    x = layer_norm(x, tensors, "bert.embeddings.LayerNorm", 1e-12)
    visible = np.broadcast_to(np.asarray(ids) != padding, (len(ids), len(ids)))
    block = 0
    while f"bert.encoder.layer.{block}.output.dense.weight" in tensors:
        name = f"bert.encoder.layer.{block}."
        q, k, v = (
            linear(x, tensors, f"{name}attention.self.{n}") for n in ("query", "key", "value")
        )
        h = linear(attend(q, k, v, heads, visible), tensors, f"{name}attention.output.dense")
        x = layer_norm(x + h, tensors, f"{name}attention.output.LayerNorm", 1e-12)
        h = linear(
            gelu(linear(x, tensors, f"{name}intermediate.dense")), tensors, f"{name}output.dense"
        )
        x = layer_norm(x + h, tensors, f"{name}output.LayerNorm", 1e-12)
        block += 1
    return unit(x[0] @ tensors["text_projection"])


def beit_image(image, tensors, heads, bias=None, mask=None):
    """Hidden states [1 + N, W] of uint8 [H, W, 3] by BEiT, before the last norm.

    Names are those of transformers 5. Positions are those of the file, added behind the masked
    patches (mask bool [N]), or a bias of the attention, or both.
    """
    pixels = (image / 255.0 - 0.5) / 0.5
    kernel = tensors["beit.embeddings.patch_embeddings.projection.weight"]  # [W, 3, P, P]
    side = kernel.shape[2]
    tokens = [tensors["beit.embeddings.cls_token"][0, 0]]
    for row in range(0, image.shape[0], side):
        for column in range(0, image.shape[1], side):
            patch = pixels[row : row + side, column : column + side].transpose(2, 0, 1)
            embedded = (kernel * patch).sum((1, 2, 3))
            embedded += tensors["beit.embeddings.patch_embeddings.projection.bias"]
            hidden = mask is not None and mask[len(tokens) - 1]
            tokens.append(tensors["beit.embeddings.mask_token"][0, 0] if hidden else embedded)
    x = np.stack(tokens)
    if "beit.embeddings.position_embeddings" in tensors:
        x = x + tensors["beit.embeddings.position_embeddings"][0]
    everything, block = np.ones((len(x), len(x)), bool), 0
    while f"beit.layers.{block}.lambda_1" in tensors:
        name = f"beit.layers.{block}."
        h = layer_norm(x, tensors, f"{name}layernorm_before", 1e-12)
        q = linear(h, tensors, f"{name}attention.q_proj")
        k = h @ tensors[f"{name}attention.k_proj.weight"].T  # keys have no bias
        v = linear(h, tensors, f"{name}attention.v_proj")
        h = linear(attend(q, k, v, heads, everything, bias), tensors, f"{name}attention.o_proj")
        x = x + tensors[f"{name}lambda_1"] * h
        h = layer_norm(x, tensors, f"{name}layernorm_after", 1e-12)
        h = linear(gelu(linear(h, tensors, f"{name}mlp.fc1")), tensors, f"{name}mlp.fc2")
        x = x + tensors[f"{name}lambda_2"] * h
        block += 1
    return x


def beit_bias(table, grid):
    """Bias [heads, 1 + N, 1 + N] of a table [(2 g - 1)² + 3, heads] by relative positions."""
    offsets = (2 * grid - 1) ** 2  # then class token to patch, patch to class token, class token
    index = np.full((grid * grid + 1, grid * grid + 1), offsets)
    index[:, 0], index[0, 0] = offsets + 1, offsets + 2
    for query in range(grid * grid):
        for key in range(grid * grid):
            down = query // grid - key // grid + grid - 1
            right = query % grid - key % grid + grid - 1
            index[1 + query, 1 + key] = down * (2 * grid - 1) + right
    return table[index].transpose(2, 0, 1)
