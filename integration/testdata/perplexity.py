# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "accelerate==1.15.0", "gguf==0.19.0"]
# ///
"""Scores prose by a llama GGUF with transformers, as a reference for Pare's own
scoring, which shares no code with it.

    python perplexity.py MODEL.gguf > perplexity.json

The weights are those of the GGUF, dequantised to float32. The prose is part of
Newton's Opticks, which every Go installation holds; `go` is asked where. Its words
are not kept in the golden, only the digest of its tokens.

The protocol is that of llama.cpp's perplexity tool: chunks of CONTEXT tokens, each
run from an empty context, and the second half of each is scored, from token
CONTEXT/2+1 on, given all before it. No token is put in front: SmolLM2's GGUF says
add_bos_token false. Everything is done for the whole model, and again with the
layers in CUT deleted.
"""

import hashlib
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

START, BYTES = 20_000, 18_000
CONTEXT, CHUNKS = 512, 8
CUT = range(13, 19)

# How SmolLM2 cuts text into words; transformers does not learn this from the GGUF.
WORDS = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])


def prose():
    root = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    return (Path(root) / "src/testdata/Isaac.Newton-Opticks.txt").read_bytes()[START : START + BYTES].decode()


def predictions(model, chunk):
    """ln p of every token of the vocabulary at each scored position: [scored, vocabulary]."""
    with torch.no_grad():
        logits = model(input_ids=chunk[None], use_cache=False).logits[0]
    return logits[CONTEXT // 2 : -1].double().log_softmax(-1)


def score(model, chunks, whole):
    """What the model makes of each chunk. whole holds the predictions of the whole
    model, by chunk, and is filled by the first call."""
    perplexity, log_probs, kl, agree = [], [], 0.0, 0
    for i, chunk in enumerate(chunks):
        p = predictions(model, chunk)
        if len(whole) == i:
            whole.append(p)
        found = p.gather(1, chunk[CONTEXT // 2 + 1 :, None])[:, 0]
        perplexity.append(math.exp(-found.mean()))
        log_probs += found.tolist()
        kl += (whole[i].exp() * (whole[i] - p)).sum().item()
        agree += (whole[i].argmax(1) == p.argmax(1)).sum().item()
    scored = len(log_probs)
    return {
        "perplexity": round(math.exp(-sum(log_probs) / scored), 4),
        "kl": round(kl / scored, 5),
        "agreement": round(agree / scored, 5),
        "chunks": [round(x, 4) for x in perplexity],
        "log_probs": [round(x, 3) for x in log_probs],
    }


def main(gguf):
    place = {"pretrained_model_name_or_path": os.path.dirname(gguf) or ".", "gguf_file": os.path.basename(gguf)}
    tokenizer = AutoTokenizer.from_pretrained(**place)
    tokenizer.backend_tokenizer.pre_tokenizer = WORDS
    model = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()

    ids = tokenizer(prose(), add_special_tokens=False)["input_ids"][: CHUNKS * CONTEXT]
    chunks = torch.tensor(ids).view(CHUNKS, CONTEXT)
    whole = []
    golden = {
        "start": START,
        "bytes": BYTES,
        "context": CONTEXT,
        "tokens": len(ids),
        "tokens_sha256": hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest(),
        "bypass": f"{CUT[0]}-{CUT[-1]}",
        "whole": score(model, chunks, whole),
    }
    kept = [layer for i, layer in enumerate(model.model.layers) if i not in CUT]
    model.model.layers = torch.nn.ModuleList(kept)
    model.config.num_hidden_layers = len(kept)
    golden["cut"] = score(model, chunks, whole)
    # A list of numbers goes on one line.
    print(re.sub(r"\[\n([^\[\]\"]*)\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(golden, indent=1)))


if __name__ == "__main__":
    main(sys.argv[1])
