"""What each stage will take of this machine: time, disk, memory."""
