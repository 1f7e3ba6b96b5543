"""Label the pictures of a folder in a Ray program of one's own, and list the ones that show most of a class.

python examples/cluster.py model.onnx pictures labelled --share 1

Needs `pip install 'fcnrt[cpu,ray]'`. Without an address in $RAY_ADDRESS it starts Ray on this machine.
"""

import argparse
import logging
from pathlib import Path


def main() -> None:
    """Write a palette PNG for each picture; print those with the largest share of a class."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=int, default=0, metavar="CLASS", help="its label (0)")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()

    import ray

    import fcnrt.cluster

    ray.init(include_dashboard=False, logging_level=logging.ERROR)
    pictures = sorted(options.pictures.resolve().glob("*.png"))
    rows = [{"path": str(path), "labels": str(options.output.resolve() / path.name)} for path in pictures]
    labelled = fcnrt.cluster.label(ray.data.from_items(rows), options.model, workers=options.workers)
    rows = labelled.take_all()
    for row in sorted(rows, key=lambda row: row["shares"][options.share], reverse=True)[:10]:
        print(f"{row['shares'][options.share]:.4f} {row['path']} {row['error']}")


if __name__ == "__main__":
    main()
