# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "accelerate==1.15.0", "gguf==0.19.0"]
# ///
"""Measures the residual stream of a llama GGUF with transformers, as a reference
for Pare's own measurement, which shares no code with it.

    python distances.py MODEL.gguf > distances.json

The weights are those of the GGUF, dequantised to float32. Each text is a
sequence of its own with no token put in front, as the server evaluates it:
SmolLM2's GGUF says add_bos_token false. Ollama's two engines cut text into words in
different ways before they look for tokens, so there is a reference for each. x_l is what layer l is called with, and
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
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split
from transformers import AutoModelForCausalLM, AutoTokenizer

CORPUS = Path(__file__).parents[2] / "plugin" / "corpus" / "trace"
STYLES = ["01-narrative", "07-arithmetic", "08-code", "17-chinese"]

# How text is cut into words: as SmolLM2 was trained, digit by digit and then like
# GPT-2 (transformers does not learn this from the GGUF), and like Llama 3, which
# is what Ollama's engine does for every name it does not know in tokenizer.ggml.pre.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ENGINES = {
    "llama.cpp": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "ollama": Sequence([Split(Regex(LLAMA_3), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]),
}


def residuals(model, ids):
    """x_0 … x_L of one sequence: [L+1, tokens, H] in float64."""
    seen = []
    readers = [*model.model.layers, model.model.norm]
    hooks = [m.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].double())) for m in readers]
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
    """Means over the tokens of cos, but over those of out where x_L has part.
    Without any in out, x_L is left at 0."""
    distance, change = angles(cos).mean(0), 1 - cos.mean(0)
    of_out, change_of_out = torch.zeros_like(distance), torch.zeros_like(change)
    if len(out):
        of_out, change_of_out = angles(out).mean(0), 1 - out.mean(0)
    distance[-1], distance[:, -1], change[:, -1] = of_out[-1], of_out[-1], change_of_out[:, -1]
    return {
        "tokens": len(cos),
        "output_tokens": len(out),
        "influence": rounded(change.diagonal(1)),
        "distance": [rounded(row) for row in distance],
    }


def measure(model, tokens):
    cos = [cosines(residuals(model, ids)) for ids in tokens]
    last = torch.stack([c[-1] for c in cos])
    return {
        "all_tokens": means(torch.cat([c[1:] for c in cos]), last),
        "last_tokens": means(last, last),
        "first_tokens": means(torch.stack([c[0] for c in cos]), last[:0]),
    }


def rounded(values):
    return [round(v, 7) for v in values.tolist()]


def longest(style):
    """The longest document; that of code fills more than a batch of 512 tokens."""
    documents = (CORPUS / f"{style}.txt").read_text().split("\n---\n")
    return max(documents, key=len).strip()


def main(gguf):
    place = {"pretrained_model_name_or_path": os.path.dirname(gguf) or ".", "gguf_file": os.path.basename(gguf)}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()

    texts = [longest(s) for s in STYLES]
    golden = {"texts": texts, "engines": {}}
    for engine, words in ENGINES.items():
        tokenizer.backend_tokenizer.pre_tokenizer = words
        tokens = [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
        golden["engines"][engine] = {"tokens": tokens, **measure(model, tokens)}
    # A list of numbers goes on one line; inside a text, no bracket is followed by
    # a line break, which JSON escapes.
    text = json.dumps(golden, indent=1, ensure_ascii=False)
    print(re.sub(r"\[\n([^\[\]\"]*)\]", lambda m: f"[{' '.join(m[1].split())}]", text))


if __name__ == "__main__":
    main(sys.argv[1])
