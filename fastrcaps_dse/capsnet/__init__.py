"""The network. `sizes` needs no torch; `losses` and `network` do, and are imported only where something is trained.

Shape suffixes, in every module of this room:
    B batch, C image channels, H and W image height and width,
    I input capsules (= T types x P positions), E their dimension (8),
    J output capsules (= classes), D their dimension (16).
"""
