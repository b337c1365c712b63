"""The page of a study: the Pareto front, the pick, the curves and the table, linked with each other.

`content` gives what the page shows as plain values, `document` the HTML. `report` writes the page as one file that opens offline;
`serve` and `server` serve it live, read-only, while the study runs. The page's own scripts and its style are in `assets/`.
"""
