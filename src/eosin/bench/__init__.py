"""How fast a Run is on this machine, an engine a process, in turns."""
