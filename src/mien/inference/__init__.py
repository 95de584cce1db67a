"""From pictures to faces with perceived expressions."""
