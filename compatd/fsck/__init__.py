"""`compatd fsck`: whether the data root holds what the state says, and nothing else."""
