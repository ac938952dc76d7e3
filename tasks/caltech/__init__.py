"""Photographs of things: classes of Caltech-101, by default faces against motorbikes."""
