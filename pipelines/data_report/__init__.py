"""What a dataset holds, and what each later stage will take of this machine for it."""
