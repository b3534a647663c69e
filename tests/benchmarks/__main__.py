"""Print all figures: python -m tests.benchmarks [RUN]. RUN is a finished run, runs/demo if none."""

import sys
from pathlib import Path

from tests.benchmarks import (
    bench_damage,
    bench_decode,
    bench_demo,
    bench_precision,
    bench_query,
    bench_rerank,
)


def main() -> None:
    """Run every benchmark and print what it measured."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/demo")
    print("GAP\n" + bench_demo.run(run), flush=True)
    print("\nQuery\n" + bench_query.run(run), flush=True)
    print("\nRe-ranking\n" + bench_rerank.run(run), flush=True)
    print("\nTraining precision\n" + bench_precision.run(), flush=True)
    print("\nDecoding a JPEG of 12 megapixels\n" + bench_decode.run(), flush=True)
    print("\nDamaged files of a run\n" + bench_damage.run(), flush=True)


if __name__ == "__main__":
    main()
