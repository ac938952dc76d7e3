"""Handwritten digits: MNIST, 28 x 28 grey pixels."""
