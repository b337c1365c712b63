"""Front, curves and table on one page."""
