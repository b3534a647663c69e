"""Print all figures: python -m tests.benchmarks [RUN]. RUN is a finished run, runs/demo if none."""

import sys
from pathlib import Path

from tests.benchmarks import bench_decode, bench_demo, bench_precision, bench_query


def main() -> None:
    """Run every benchmark and print what it measured."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/demo")
    for title, figures in (
        ("GAP", lambda: bench_demo.run(run)),
        ("Query", lambda: bench_query.run(run)),
        ("Training precision", bench_precision.run),
        ("Decoding a 12 megapixel JPEG", bench_decode.run),
    ):
        print(f"\n{title}\n{figures()}", flush=True)


if __name__ == "__main__":
    main()
