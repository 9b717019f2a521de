"""Latency on this machine or a phone, launch by launch."""
