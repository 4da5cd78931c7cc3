# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "gguf==0.19.0"]
# ///
"""Measures the residual stream of a llama GGUF with transformers, as a reference
for Pare's own measurement, which shares no code with it.

    python distances.py MODEL.gguf > distances.json

The weights are those of the GGUF, dequantised to float32. Each text is a
sequence of its own with no token put in front, as the server evaluates it:
SmolLM2's GGUF says add_bos_token false. x_l is what layer l is called with, and
x_L what the final norm is called with (the last of transformers' hidden_states is
what that norm returns). The means are kept as a profile keeps them: first
tokens apart, and x_L of last tokens alone.
"""

import json
import math
import os
import re
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

CORPUS = Path(__file__).parents[2] / "plugin" / "corpus" / "trace"
STYLES = ["01-narrative", "04-dialogue", "08-code", "09-tables", "14-german", "17-chinese"]


def residuals(model, ids):
    """x_0 … x_L of one sequence: [L+1, tokens, H] in float64."""
    seen = []
    keep = lambda _module, args: seen.append(args[0][0].double())
    readers = [*model.model.layers, model.model.norm]
    hooks = [m.register_forward_pre_hook(keep) for m in readers]
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]), use_cache=False)
    for h in hooks:
        h.remove()
    assert len(seen) == len(readers)
    return torch.stack(seen)


def cosines(x):
    """cos(x_a, x_b) of every token: [tokens, L+1, L+1]."""
    u = (x / x.norm(dim=-1, keepdim=True)).transpose(0, 1)
    return (u @ u.transpose(1, 2)).clamp(-1, 1)


def angles(cos):
    """arccos(cos) / pi, and 0 from a residual to itself."""
    d = torch.arccos(cos) / math.pi
    d.diagonal(dim1=1, dim2=2).zero_()
    return d


def means(cos, out):
    """Means over tokens, and of what x_L has part in over those of out."""
    distance = angles(cos).mean(0)
    near = cos.mean(0)
    if len(out):
        distance[-1, :], distance[:, -1] = angles(out).mean(0)[-1], angles(out).mean(0)[-1]
        near[:, -1] = out.mean(0)[:, -1]
    else:
        distance[-1, :] = distance[:, -1] = 0
        near[:, -1] = 1
    return {
        "tokens": len(cos),
        "output_tokens": len(out),
        "influence": rounded(1 - near.diagonal(1)),
        "distance": [rounded(row) for row in distance],
    }


def rounded(values):
    return [round(v, 7) for v in values.tolist()]


def read(style):
    return (CORPUS / f"{style}.txt").read_text().split("\n---\n")[0].strip()


def main(gguf):
    place = {"pretrained_model_name_or_path": os.path.dirname(gguf) or ".", "gguf_file": os.path.basename(gguf)}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()

    texts = [read(s) for s in STYLES]
    tokens = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    all_cos = [cosines(residuals(model, ids)) for ids in tokens]
    last = torch.stack([c[-1] for c in all_cos])
    golden = {
        "texts": texts,
        "tokens": tokens,
        "all_tokens": means(torch.cat([c[1:] for c in all_cos]), last),
        "last_tokens": means(last, last),
        "first_tokens": means(torch.stack([c[0] for c in all_cos]), last[:0]),
    }
    text = json.dumps(golden, indent=1, ensure_ascii=False)
    print(re.sub(r"\[[-\d.,e\s]+\]", lambda list: re.sub(r"\s+", " ", list[0]), text))


if __name__ == "__main__":
    main(sys.argv[1])
