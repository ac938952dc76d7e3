"""How a model learns: one LightningModule, learning rules, schedules, callbacks."""
