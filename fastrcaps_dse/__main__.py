"""`python -m fastrcaps_dse` is `fastrcaps-dse`."""

from fastrcaps_dse.cli import main

main()
