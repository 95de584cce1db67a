"""From images to faces with perceived expressions."""
