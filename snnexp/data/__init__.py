"""Data tools that tasks use; nothing here knows a task."""
