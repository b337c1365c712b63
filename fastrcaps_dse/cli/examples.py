"""The examples at the end of each command's --help; a test parses them."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "explore": (
        "fastrcaps-dse explore quick --budget 30m",
        "fastrcaps-dse explore wide --dataset my-images --set epochs=5",
    ),
    "front": ("fastrcaps-dse front --plot", "fastrcaps-dse front --anytime --format latex"),
    "pick": (
        "fastrcaps-dse pick --max-params 7M --max-time 10m",
        "fastrcaps-dse pick --anytime --max-time 60s --export exported",
    ),
    "show": ("fastrcaps-dse show 3",),
    "trials": ("fastrcaps-dse trials --format markdown", "fastrcaps-dse trials --epochs --parquet epochs.parquet"),
    "export": ("fastrcaps-dse export 3 --out exported --half",),
    "predict": ("fastrcaps-dse predict 3 picture.png", "fastrcaps-dse predict --max-params 7M pictures --csv"),
    "view": ("fastrcaps-dse view --study quick",),
    "report": ("fastrcaps-dse report --figures figures --format png", "fastrcaps-dse report --paper --study paper-mnist"),
    "train": ("fastrcaps-dse train --design wab+ws --epochs 5",),
    "retrain": ("fastrcaps-dse retrain 3 --epochs 60 --all-images",),
    "find-lr": ("fastrcaps-dse find-lr --design one-cycle --steps 200",),
    "data": ("fastrcaps-dse data my-images --picture classes.png",),
    "init": ("fastrcaps-dse init mine.toml", "fastrcaps-dse explore mine.toml --dry-run"),
    "studies": ("fastrcaps-dse studies --csv", "fastrcaps-dse studies --rename quick first"),
    "export-study": ("fastrcaps-dse export-study tables --format parquet",),
    "clean": ("fastrcaps-dse clean --free",),
    "doctor": ("fastrcaps-dse doctor --data-dir data",),
}
