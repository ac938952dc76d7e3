"""Depth from the events of one or two cameras: MVSEC's indoor flights."""
