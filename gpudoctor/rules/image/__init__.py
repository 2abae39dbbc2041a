"""Images: what they bring and ask for."""
