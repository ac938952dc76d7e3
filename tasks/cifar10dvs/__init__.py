"""CIFAR10-DVS: ten classes of pictures moved on a screen before an event camera."""
