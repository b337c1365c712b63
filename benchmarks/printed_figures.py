"""The printed figures of made-up studies of 4, 48 and 300 designs, with and without seeds, as pictures to look at: reports/pictures/."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from PIL import Image

from fastrcaps_dse.cli.figures import Wanted, write_figures
from fastrcaps_dse.search.optuna_storage import quiet_optuna
from tests.synthetic import write_study

PICTURES = Path(__file__).parent.parent / "reports" / "pictures"
CASES = {
    "print-4": {"designs": 4, "columns": 1, "seeds": 1},
    "print-48-seeds": {"designs": 48, "columns": 1, "seeds": 3},
    "print-300-wide": {"designs": 300, "columns": 2, "seeds": 1},
}
SHOWN = ("fig8ab-pareto-acc-time", "fig8c-accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURES)
    parser.add_argument("--format", default="png")
    parser.add_argument("--all", action="store_true", help="all figures of all cases, not only those that are kept")
    asked = parser.parse_args()
    quiet_optuna()
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            database = Path(place) / "s.db"
            write_study(database, case["designs"], seeds=case["seeds"], epochs=12)
            wanted = Wanted(kind=asked.format, columns=case["columns"])
            write_figures(Path(place) / "figures", wanted, storage=str(database), study=None, objectives=None)
            for path in sorted((Path(place) / "figures").glob(f"*.{asked.format}")):
                if asked.all or path.stem in SHOWN:
                    asked.out.mkdir(parents=True, exist_ok=True)
                    target = asked.out / f"{name}-{path.name}"
                    target.write_bytes(path.read_bytes())
                    if asked.format == "png" and not asked.all:
                        _small(target)


def _small(path: Path) -> None:
    """Make a picture small enough to keep: a third of its pixels a side at most, 32 colors."""
    image = Image.open(path).convert("RGB")
    width = min(image.width // 3, 1000)
    size = (width, image.height * width // image.width)
    image.resize(size, Image.Resampling.LANCZOS).quantize(32, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    main()
