"""DVS128 Gesture: eleven hand and arm gestures seen by an event camera."""
