"""What a training run will take of a device's memory and of the disk, said before anything is loaded or written."""
