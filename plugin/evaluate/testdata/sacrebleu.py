# /// script
# requires-python = ">=3.11"
# dependencies = ["sacrebleu==2.6.0"]
# ///
"""Scores answers against references with sacrebleu, as a reference for Pare's own
chrF and BLEU, which share no code with it.

    python sacrebleu.py > sacrebleu.json

Each case is scored as one corpus. chrF is sacrebleu's default (chrF2). BLEU is
its default but for the tokeniser: "13a" for text in letters, "zh" for Chinese
and for mixtures. The texts leave out what these do and Pare does not: they
decode XML entities, join words at a hyphen that ends a line, and split only every
other one of several points before a digit ("..5").
"""

import json
import sys

sys.path.pop(0)  # this file has the module's name

from sacrebleu.metrics import BLEU, CHRF

FOX = "The night train left the harbour at ten, and nobody on the platform waved."
CASES = [
    ("equal", "13a", [FOX], [FOX]),
    ("empty answer", "13a", [""], [FOX]),
    ("empty reference", "13a", [FOX], [""]),
    ("both empty", "13a", [""], [""]),
    ("nothing in common", "13a", ["qqq zzz xxx www"], ["Bread, milk and eggs."]),
    ("three tokens", "13a", ["yes it is"], ["yes it is"]),
    ("partly equal", "13a", ["The night train left the station at nine, and somebody on the platform wept."], [FOX]),
    ("longer than its reference", "13a", [FOX + " The rain went on until the morning."], [FOX]),
    ("shorter than its reference", "13a", ["The night train left the harbour."], [FOX]),
    ("one token of four", "13a", ["a train of thought without end"], [FOX]),
    ("loop", "13a", ["the harbour the harbour the harbour the harbour the harbour"], [FOX]),
    ("numbers", "13a",
     ["It costs 1,250.50 euros (about $1,400), i.e. 3.5-4.2 % more; see pages 12-14."],
     ["It costs 1,250.5 euros, about $1,400: that is 3.5-4 % more, see page 12."]),
    ("signs", "13a", ["Don't e-mail me... please!! It's 'fine' {ok} [a|b] <x> ~y ^z _w `v` #1 @home."],
     ["Do not e-mail me . . please! It's 'fine' {ok} [a|b] <x> y ^z w `v` #2 @work."]),
    ("points", "13a", [".5 5. 1..2 3.-4 5-.6 7,,8 ,9"], [".5 5. .5 1.2 3-4 5.6 7,8 9,"]),
    ("german", "13a",
     ["Die Fähre fährt heute nicht, weil der Wind zu stark ist – sagte der Kapitän."],
     ["Die Fähre fährt heute leider nicht, denn der Wind ist zu stark, sagt der Kapitän."]),
    ("quoted german", "13a", ["„Wer zahlt das?“, fragte sie."], ["„Wer bezahlt das?“, fragte Anna."]),
    ("chinese", "zh", ["今天下雨,所以我们在家里看书。"], ["今天下大雨,我们就在家里看了一本书。"]),
    ("chinese with english", "zh", ["请用Python 3.12写一个函数,返回 x+1。"], ["请用 Python 3.12 写函数:返回x+2。"]),
    ("code", "13a",
     ["def area(r):\n\treturn 3.14 * r ** 2\n\nprint(area(2))\n"],
     ["def area(radius):\n    return math.pi * radius**2\n\nprint(area(2.0))"]),
    ("corpus", "zh",
     [FOX, "", "def f(x):\n    return x", "天气很好。", "Der Zug kam spät an.", "An answer to nothing.", "No"],
     ["The train left the harbour at ten.", "Something.", "def f(y):\n    return y + 1", "今天天气很好!", "Der Zug kam sehr spät an.", "", "Not at all, never."]),
]


def main():
    out = []
    for name, tokenizer, answers, references in CASES:
        out.append({
            "name": name,
            "tokenizer": tokenizer,
            "answers": answers,
            "references": references,
            "chrf": CHRF().corpus_score(answers, [references]).score,
            "bleu": BLEU(tokenize=tokenizer).corpus_score(answers, [references]).score,
        })
    json.dump(out, sys.stdout, indent=1, ensure_ascii=False)
    print()


if __name__ == "__main__":
    main()
