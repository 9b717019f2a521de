"""Tables made from records and published numbers."""
