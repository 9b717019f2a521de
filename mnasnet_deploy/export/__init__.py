"""From network and weights to .tflite files that say what they take and give."""
