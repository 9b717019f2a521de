"""Top-1 and top-5 of .tflite files over labelled images."""
