"""What a report on token mixers measured, measured here: three mixers in one command.

The masked autoencoder with the small decoder, patches of 8 × 8, ten images at a time; 256 × 256
pixels and a mask ratio of 0.75 are not the report's words, but fit its figures. Further options
are those of `vitprof bench`, and replace those of this configuration.

    python examples/bench_mixers.py
    python examples/bench_mixers.py --device cuda --budget 300
"""

from __future__ import annotations

import sys

from vitprof.cli import main

CONFIGURATION = (
    "--mixers=attn,lambda,linear",
    *("--model=mae", "--image-size=256", "--patch-size=8", "--mask-ratio=0.75", "--batch=10"),
    *("--dim=128", "--depth=12", "--heads=8"),
    *("--decoder-dim=128", "--decoder-depth=8", "--decoder-heads=8"),
)

if __name__ == "__main__":
    given = {word.partition("=")[0] for word in sys.argv[1:]}
    usual = [word for word in CONFIGURATION if word.partition("=")[0] not in given]
    main(["bench", *usual, *sys.argv[1:]])
