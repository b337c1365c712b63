"""Runs: the trainer bound to the store. Trains a design with a seed, keeps every epoch, and continues what was stopped."""
