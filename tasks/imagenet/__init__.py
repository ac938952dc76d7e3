"""Photographs of a thousand kinds of things: ILSVRC2012, known as ImageNet-1k."""
