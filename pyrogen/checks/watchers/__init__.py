"""Torch modes that watch the operations of a running program.

They stand between the program and the operations that it calls, so that `pyrogen.programs.source_lines` skips the frames of
this package.
"""
