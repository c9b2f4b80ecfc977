"""What goes on around us in a process: its clock, forks, reloads, exceptions from outside."""
