"""Adapters to other people's frameworks, each in a file named after it: ``sklearn``, ``pyod``, ``anomalib``. Importing this imports none."""
