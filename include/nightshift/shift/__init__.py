"""Shift: what a column looks like on one day, in few numbers, and whether it still looks like the days before."""
