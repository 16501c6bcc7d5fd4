"""What every job needs of the machine: processes, files, memory, precision, progress, interruption."""
