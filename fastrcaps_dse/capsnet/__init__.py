"""The network. `sizes` needs no torch; the other modules do, and are imported only where something is trained.

Shapes: a tensor's name ends in the letters of its dimensions, e.g. `u_hat_BIJD`. The letters, in every module of this folder:

    B     images of a batch; b: images of one chunk of it
    C     image channels; H, W: image height and width in pixels; N = C*H*W: values of an image
    K     side of both kernels (9)
    F     channels of Conv1; M = T*E: channels of the PrimaryCaps convolution (both 256)
    h, w  grid of the primary capsules; P = h*w: its positions
    y, x  grid of a stride phase of Conv1's output (h+4 by w+4); p, q: the phase (2 by 2)
    T     types of primary capsules (32); E: their dimension (8)
    I     input capsules of the routing (T*P; input capsule i is at position i % P of type i // P)
    J     output capsules, one for each class; D: their dimension (16); X = J*D
    R     routing iterations
"""
