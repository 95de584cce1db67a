"""Adaptation of a shipped or own model to labeled faces: `mien adapt`. No torch."""
