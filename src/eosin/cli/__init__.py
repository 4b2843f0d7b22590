"""The command line: one thin function a verb, which reads, calls and prints."""
