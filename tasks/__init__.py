"""One folder a task; Hydra's `_target_` is the only door in."""
