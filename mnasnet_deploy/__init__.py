"""Build, quantize, export and measure MnasNet for phones.

The rooms, in the order data walks through them: `arch` (what the network is), `weights` (where its
numbers come from), `export` (the .tflite files), `bench` (latency), `results` (records on disk),
`report` (tables). Importing this package imports none of them.
"""

__version__ = "0.1.0"
