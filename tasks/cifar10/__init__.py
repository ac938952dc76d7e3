"""Small colour photographs: CIFAR-10, 32 x 32 pixels."""
