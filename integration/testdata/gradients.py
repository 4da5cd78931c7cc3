# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0", "gguf==0.19.0"]
# ///
"""Trains low-rank adapters on a tiny llama with torch and peft, as a reference for
Pare's own training, which shares no code with them.

    go run ./tinygguf > tiny.gguf
    python gradients.py tiny.gguf > gradients.json

All is in float32, on one thread, without dropout. What goes in comes from
formulas in integers and float64, rounded to float32 last, that a test can
repeat. Angles are in radians; s counts sequences, t tokens in one, from 0.

    token      (7t + 31s + 3t²(s+1)) mod V
    weight     0 at the last t, and where t mod 5 is 3; else 1
    teacher    of each s and t the TOP most likely next tokens, k from 0:
               token (13n + 29k + 5) mod V, with ln p = -0.7(k+1) - 0.3(1 + sin n)
               and n = t + LENGTH·s; all other tokens together have the rest of p
    A[i,j]     sin(1 + m + i·in + j) / sqrt(in)     RANK × in
    B[i,j]     cos(1 + m + i·RANK + j) / 100        out × RANK

m is the place of the matrix in MATRICES, plus 7 for each layer below. W becomes
W + (alpha/rank)·B·A. Every matrix is as the GGUF has it: transformers keeps the
rows of queries and keys in another order, so rows of B are moved on the way in and
those of its gradients on the way out.

A loss is the mean over the positions of weight 1. "next" is the cross-entropy of
the token at t+1, transformers' own; "distill" is Σ p ln(p/q) over the TOP tokens
and the class of all others, p the teacher's and q the model's.

What the golden says of either loss:

    gradients   of the loss before any step, for each adapter in order of m, A
                before B: the tensor, the part, its rows and columns, its norm (root of
                the sum of squares), of its n entries, row by row, those numbered 0,
                n/3, 2n/3 (rounded down) and n-1, and weighted, the sum of g[i]·cos(i)
    losses      before each of STEPS steps on this same batch, and after the last
    norms       of all gradients together at each step, before they are clipped

The optimiser is torch's AdamW at a constant rate. Clipping multiplies by
clip/(norm + 1e-6) where that is below 1. Entries and weighted sums of gradients may
cancel to nothing: hold differences against the norm.
"""

import hashlib
import json
import math
import os
import re
import sys

import torch
from gguf import GGUFReader
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

SEQUENCES, LENGTH, TOP = 2, 32, 6
RANK, ALPHA, STEPS = 4, 8, 10
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
CLIP = 1.0

# Names in the GGUF, and in transformers.
MATRICES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class Adapter:
    """The two factors beside one matrix, in the GGUF's order of rows."""

    def __init__(self, model, layer, place, stored):
        name, path = list(MATRICES.items())[place]
        block = model.base_model.model.model.layers[layer]
        linear = block.get_submodule(path)
        self.tensor = f"blk.{layer}.{name}.weight"
        self.number = layer * len(MATRICES) + place
        self.a, self.b = linear.lora_A["default"].weight, linear.lora_B["default"].weight
        self.order = torch.arange(len(self.b))
        if name in ("attn_q", "attn_k"):
            # Pairs that RoPE turns are neighbours in the GGUF, half a head apart in transformers.
            self.order = self.order.view(-1, block.self_attn.head_dim // 2, 2).transpose(1, 2).flatten()
        if not torch.equal(linear.base_layer.weight, stored[self.tensor][self.order]):
            sys.exit(f"{self.tensor}: transformers has its rows in an order that is not known here")

    def fill(self):
        with torch.no_grad():
            columns = self.a.shape[1]
            self.a.copy_(torch.sin(1 + self.number + grid(self.a)) / math.sqrt(columns))
            self.b.copy_((torch.cos(1 + self.number + grid(self.b)) / 100)[self.order])

    def gradients(self):
        of_b = torch.empty_like(self.b.grad)
        of_b[self.order] = self.b.grad
        return [self.digest("A", self.a.grad), self.digest("B", of_b)]

    def digest(self, part, gradient):
        g = gradient.double().flatten()
        n = len(g)
        return {
            "tensor": self.tensor,
            "part": part,
            "rows": gradient.shape[0],
            "columns": gradient.shape[1],
            "norm": short(g.norm()),
            "entries": [short(g[i]) for i in (0, n // 3, 2 * n // 3, n - 1)],
            "weighted": short((g * torch.cos(grid(g))).sum()),
        }


def grid(like):
    """The numbers from 0 on in the shape of like."""
    return torch.arange(like.numel(), dtype=torch.float64).view(like.shape)


def short(value):
    return float(f"{value:.8g}")


def batch(vocabulary):
    """Tokens and weights, both [SEQUENCES, LENGTH]."""
    s, t = torch.arange(SEQUENCES)[:, None], torch.arange(LENGTH)[None]
    weight = ((t % 5 != 3) & (t < LENGTH - 1)).expand(SEQUENCES, LENGTH)
    return (7 * t + 31 * s + 3 * t * t * (s + 1)) % vocabulary, weight


def next_token(model, tokens, weight):
    labels = torch.full_like(tokens, -100)
    labels[:, 1:] = tokens[:, 1:].masked_fill(~weight[:, :-1], -100)  # a label stands where its token does
    return model(input_ids=tokens, labels=labels, use_cache=False).loss


def distill(model, tokens, weight):
    top, p = teacher(model.config.vocab_size)
    log_q = model(input_ids=tokens, use_cache=False).logits.log_softmax(-1)  # [S, T, V]
    others = torch.ones_like(log_q, dtype=torch.bool).scatter(-1, top, False)
    rest = log_q.masked_fill(~others, -math.inf).logsumexp(-1, keepdim=True)
    log_q = torch.cat([log_q.gather(-1, top), rest], -1)  # [S, T, TOP+1]
    kl = (p * (p.log() - log_q)).sum(-1)
    return kl[weight].mean()


def teacher(vocabulary):
    """Its most likely tokens [S, T, TOP], and probabilities with the rest last [S, T, TOP+1]."""
    n = torch.arange(SEQUENCES * LENGTH).view(SEQUENCES, LENGTH, 1)
    k = torch.arange(TOP)
    log_p = (-0.7 * (k + 1) - 0.3 * (1 + torch.sin(n.double()))).float()
    p = log_p.double().exp()
    p = torch.cat([p, 1 - p.sum(-1, keepdim=True)], -1)
    return (13 * n + 29 * k + 5) % vocabulary, p.float()


def train(model, adapters, loss_of):
    for a in adapters:
        a.fill()
    tokens, weight = batch(model.config.vocab_size)
    parameters = [p for a in adapters for p in (a.a, a.b)]
    adamw = torch.optim.AdamW(parameters, **ADAMW)
    golden = {"gradients": [], "losses": [], "norms": []}
    for step in range(STEPS):
        adamw.zero_grad()
        loss = loss_of(model, tokens, weight)
        loss.backward()
        if step == 0:
            golden["gradients"] = [g for a in adapters for g in a.gradients()]
        golden["losses"].append(short(loss.item()))
        golden["norms"].append(short(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
        adamw.step()
    golden["losses"].append(short(loss_of(model, tokens, weight).item()))
    return golden


def main(gguf):
    torch.set_num_threads(1)
    place = {"pretrained_model_name_or_path": os.path.dirname(gguf) or ".", "gguf_file": os.path.basename(gguf)}
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    linear = [path.rpartition(".")[2] for path in MATRICES.values()]
    model = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0, target_modules=linear))
    stored = {t.name: torch.tensor(t.data) for t in GGUFReader(gguf).tensors}
    layers = model.config.num_hidden_layers
    adapters = [Adapter(model, layer, i, stored) for layer in range(layers) for i in range(len(MATRICES))]
    golden = {
        "model_sha256": hashlib.sha256(open(gguf, "rb").read()).hexdigest(),
        "layers": layers,
        "vocabulary": model.config.vocab_size,
        "sequences": SEQUENCES,
        "length": LENGTH,
        "top": TOP,
        "rank": RANK,
        "alpha": ALPHA,
        "optimiser": {**ADAMW, "clip": CLIP},
        "next": train(model, adapters, next_token),
        "distill": train(model, adapters, distill),
    }
    # A list of numbers goes on one line.
    print(re.sub(r"\[\n([^\[\]\"]*)\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(golden, indent=1)))


if __name__ == "__main__":
    main(sys.argv[1])
