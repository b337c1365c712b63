"""Load the network that was picked from a study, and classify pictures with it.

    python examples/load_a_pick.py studies/fastrcaps.db PICTURE...

The study must have been explored, for example by `fastrcaps-dse explore quick`.
"""

import sys

from PIL import Image

import fastrcaps_dse as fd

storage, *paths = sys.argv[1:]
network = fd.load_picked(storage, max_params="7M")  # a torch module in eval mode
print("design:", network.design.label)
print("classes:", ", ".join(network.classes))

pictures = [Image.open(path) for path in paths]
for path, said in zip(paths, network.predict(pictures), strict=True):
    print(f"{path}: {said.name} ({said.score:.3f}), or else {said.second} ({said.second_score:.3f})")

images = network.preprocess(pictures)  # float32 [B, C, H, W] in [0, 1]
scores = network(images)  # [B, classes], with gradients, as any torch module
print("scores:", tuple(scores.shape))
