"""Which design next: the loop of an exploration, the proposers, pruning and racing.

This wing owns Optuna and knows no torch: it is handed an executor, which trains, and a forecast of what a design costs.
"""
