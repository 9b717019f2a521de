"""Records of measurements, kept on disk and never changed."""
