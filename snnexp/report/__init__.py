"""The record of runs, and what is made of it. Reads and writes result files; knows no training."""
