# /// script
# requires-python = ">=3.11"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0", "gguf==0.19.0"]
# ///
"""Times the training steps of repair.py: the same cut model and batch, with tokens
at random.

    python step.py --model MODEL.gguf [--loss next|distill] [--layers all|above] [--steps N] [--threads 2]

Prints "ready", and then the seconds of each step on a line of its own. Without --steps one
step is made for each line that is read, until the input ends: whoever measures
something else in turns with this lets either wait for the other.
"""

import argparse
import sys

import torch
from repair import BATCH, CUT, LENGTH, Training, adapted, load, without


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--loss", choices=["next", "distill"], default="next")
    parser.add_argument("--layers", choices=["all", "above"], default="all")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    uncut = load(args.model)
    cut = without(uncut, CUT)
    first = CUT.start - 1 if args.layers == "above" else 0
    model = adapted(cut, list(range(first, len(cut.model.layers))))
    training = Training(model, uncut, args.loss, lr=5e-4, steps=100)
    print("ready", flush=True)
    for _ in sys.stdin if args.steps is None else range(args.steps):
        tokens = torch.randint(uncut.config.vocab_size, (BATCH, LENGTH))
        print(f"{training.step(tokens)['seconds']:.4f}", flush=True)


if __name__ == "__main__":
    main()
