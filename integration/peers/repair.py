# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0", "gguf==0.19.0"]
# ///
"""Repairs a cut llama GGUF with torch and peft, to hold Pare's own repair against.

    python repair.py --model MODEL.gguf --train TRAIN.json --held A.json B.json
        [--loss next|distill] [--closed-form] [--layers all|above] [--control]
        [--steps 100] [--lr 5e-4] [--seed 0] [--threads 2] [--json OUT.json]
        [--against NAME=REPAIRED.gguf ...]

Layers CUT are deleted from the model, whose weights are dequantised to float32; with
--control none are, to see what the training does to a model that needs no repair.
With --closed-form a linear map is then folded into the layer before the cut; then
adapters are trained on all linear maps, of all layers or of those from the one
before the cut up ("above").

The files of tokens are what Pare trained and scored itself, each a JSON list of
lists: TRAIN has sequences of LENGTH tokens, of which step s takes BATCH from
number BATCH·s on, and the closed form the first CALIBRATION; those held out have
512 tokens each, run from an empty context, of which the second half is scored, as
testdata/perplexity.py does it. Each position but the last of a sequence is learnt.

The rate rises over WARM_UP steps, by lr/WARM_UP each and the first step taking one
such part, and then falls along half a cosine to a tenth. AdamW without decay;
gradients are clipped to a norm of 1.

What is named by --against is scored with the rest, by the same code.

--json writes, beside the settings and each step's loss and seconds (teacher_seconds
is the part of them that the uncut model took), for each file held out and each of
"uncut", "cut", "closed form", "trained" and NAME: the perplexity, the KL divergence from
the uncut model in nats a token, the share of tokens where both find the same one
most likely; and for each sequence, to compare in pairs, its mean loss, divergence and
agreement. peak_memory is the resident set's largest size in bytes, up to the
end of training: the models share their weights, and scoring comes after it.
"""

import argparse
import copy
import json
import math
import re
import resource
import sys
import time
from pathlib import Path

import peft
import torch
import transformers
from torch.nn.functional import kl_div

CUT = range(13, 19)
BATCH, LENGTH = 4, 256
CALIBRATION = 128  # sequences
RANK, ALPHA = 8, 16
WARM_UP, FLOOR, CLIP = 10, 0.1, 1.0
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load(gguf):
    gguf = Path(gguf)
    place = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    return transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval().requires_grad_(False)


def sharing(model):
    """A copy of the model over the same weights."""
    return copy.deepcopy(model, {id(t): t for t in [*model.parameters(), *model.buffers()]})


def without(model, cut):
    """The model without some layers, over the same weights."""
    model = sharing(model)
    kept = [layer for i, layer in enumerate(model.model.layers) if i not in cut]
    model.model.layers = torch.nn.ModuleList(kept)
    model.config.num_hidden_layers = len(kept)
    return model


def adapted(model, layers):
    """The model with adapters beside the linear maps of some of its layers."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0, target_modules=LINEAR, layers_to_transform=layers)
    return peft.get_peft_model(sharing(model), config)


def linear_map(uncut, sequences):
    """T [H, H] of ReplaceMe (arXiv 2505.02819), the least squares solution of
    M·T + Y = x, where M is the output of the feed-forward before the cut, Y the
    residual that it is added to and x what the layer after the cut is called with.
    The first token of a sequence is left out: it outweighs all the others."""
    before, after, seen = uncut.model.layers[CUT.start - 1], uncut.model.layers[CUT.stop], {}
    hooks = [
        before.mlp.register_forward_hook(lambda _, args, out: seen.update(m=out)),
        before.post_attention_layernorm.register_forward_pre_hook(lambda _, args: seen.update(y=args[0])),
        after.register_forward_pre_hook(lambda _, args: seen.update(x=args[0])),
    ]
    gram = cross = 0
    with torch.no_grad():
        for batch in sequences.split(BATCH):
            uncut.model(input_ids=batch, use_cache=False)
            m, y, x = (seen[k][:, 1:].flatten(0, 1).double() for k in "myx")  # [tokens, H]
            gram, cross = gram + m.T @ m, cross + m.T @ (x - y)
    for h in hooks:
        h.remove()
    return torch.linalg.solve(gram, cross)


def folded(cut, t):
    """The cut model with M·T where it had M."""
    cut = sharing(cut)
    down = cut.model.layers[CUT.start - 1].mlp.down_proj  # M = h·Wᵀ
    down.weight = torch.nn.Parameter((t.T @ down.weight.double()).float(), requires_grad=False)
    return cut


class Training:
    """Adapters on their way; each step returns what it took."""

    def __init__(self, model, uncut, loss, lr, steps):
        self.model, self.uncut, self.loss = model, uncut, {"next": self.next, "distill": self.distill}[loss]
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.adamw = torch.optim.AdamW(self.parameters, lr=lr, weight_decay=0)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.adamw, lambda step: share_of_rate(step, steps))

    def step(self, tokens):
        start = time.perf_counter()
        self.adamw.zero_grad()
        loss, teaching = self.loss(tokens)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.adamw.step()
        self.schedule.step()
        return {"loss": loss.item(), "seconds": time.perf_counter() - start, "teacher_seconds": teaching}

    def next(self, tokens):
        return self.model(input_ids=tokens, labels=tokens, use_cache=False).loss, 0.0

    def distill(self, tokens):
        """Σ p ln(p/q) over the whole vocabulary, p the uncut model's, and the seconds that p took."""
        start = time.perf_counter()
        with torch.no_grad():
            p = self.uncut(input_ids=tokens, use_cache=False).logits[:, :-1].flatten(0, 1).log_softmax(-1)
        teaching = time.perf_counter() - start
        q = self.model(input_ids=tokens, use_cache=False).logits[:, :-1].flatten(0, 1).log_softmax(-1)
        return kl_div(q, p, log_target=True, reduction="batchmean"), teaching


def share_of_rate(step, steps):
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    part = (step - WARM_UP) / max(1, steps - WARM_UP)
    return FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * part)) / 2


def predictions(model, sequence):
    """ln p of every token of the vocabulary at each scored position: [scored, vocabulary]."""
    with torch.no_grad():
        logits = model(input_ids=sequence[None], use_cache=False).logits[0]
    return logits[len(sequence) // 2 : -1].double().log_softmax(-1)


def score(models, sequences):
    """What each model makes of the sequences. The first one is what the others are compared with."""
    found = {name: {"loss": [], "kl": [], "agreement": []} for name in models}
    for sequence in sequences:
        whole = None
        for name, model in models.items():
            p = predictions(model, sequence)
            whole = p if whole is None else whole
            f = found[name]
            f["loss"].append(-p.gather(1, sequence[-len(p) :, None]).mean().item())
            f["kl"].append((whole.exp() * (whole - p)).sum(1).mean().item())
            f["agreement"].append((whole.argmax(1) == p.argmax(1)).double().mean().item())
    return {name: summary(f) for name, f in found.items()}


def summary(found):
    mean = {k: sum(v) / len(v) for k, v in found.items()}
    return {"perplexity": math.exp(mean["loss"]), "kl": mean["kl"], "agreement": mean["agreement"], "sequences": found}


def read(path, length, least=1):
    tokens = json.loads(Path(path).read_text())
    if len(tokens) < least or any(len(sequence) != length for sequence in tokens):
        sys.exit(f"{path} has {len(tokens)} sequences; give {least} at least, of {length} tokens each")
    return torch.tensor(tokens)


def peak_memory():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def repair(args):
    train = read(args.train, LENGTH, max(args.steps * BATCH, CALIBRATION * args.closed_form))
    held = {Path(path).name.partition(".")[0]: read(path, 512) for path in args.held}
    uncut = load(args.model)
    models = {"uncut": uncut, "cut": uncut if args.control else without(uncut, CUT)}
    result = {"settings": settings(args), "steps": []}
    last = models["cut"]
    if args.closed_form:
        start = time.perf_counter()
        last = models["closed form"] = folded(last, linear_map(uncut, train[:CALIBRATION]))
        result["closed_form_seconds"] = time.perf_counter() - start
    if args.steps:
        first = CUT.start - 1 if args.layers == "above" else 0
        model = models["trained"] = adapted(last, list(range(first, len(last.model.layers))))
        training = Training(model, uncut, args.loss, args.lr, args.steps)
        for number, batch in enumerate(train.split(BATCH)[: args.steps], 1):
            result["steps"].append(training.step(batch))
            print(f"step {number}: {result['steps'][-1]}", file=sys.stderr)
    result["peak_memory"] = peak_memory()
    models |= {name: load(path) for name, path in args.against}
    result["held"] = {name: score(models, sequences) for name, sequences in held.items()}
    return result


def settings(args):
    return {
        "versions": {m.__name__: m.__version__ for m in (torch, transformers, peft)},
        "cut": None if args.control else f"{CUT[0]}-{CUT[-1]}",
        "batch": BATCH,
        "length": LENGTH,
        "calibration_tokens": CALIBRATION * LENGTH * args.closed_form,
        "rank": RANK,
        "alpha": ALPHA,
        **{k: getattr(args, k) for k in ("closed_form", "loss", "layers", "steps", "lr", "seed", "threads")},
    }


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--held", required=True, nargs="+")
    parser.add_argument("--loss", choices=["next", "distill"], default="next")
    parser.add_argument("--closed-form", action="store_true")
    parser.add_argument("--layers", choices=["all", "above"], default="all")
    parser.add_argument("--control", action="store_true")
    parser.add_argument("--against", type=lambda text: text.split("=", 1), nargs="+", default=[])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    result = repair(args)
    for name, scores in result["held"].items():
        for stage, s in scores.items():
            print(f"{name:16} {stage:12} perplexity {s['perplexity']:8.2f}  KL {s['kl']:6.3f}  top-1 {s['agreement']:.3f}")
    print(f"peak memory {result['peak_memory'] / 1e9:.2f} GB")
    if args.json:
        # A list of numbers goes on one line.
        text = re.sub(r"\[\n([^\[\]\"]*)\]", lambda m: f"[{' '.join(m[1].split())}]", json.dumps(result, indent=1))
        Path(args.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
