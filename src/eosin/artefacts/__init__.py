"""The artefacts that join the rooms: strict models of everything on disk, and their files."""
