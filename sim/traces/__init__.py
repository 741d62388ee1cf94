"""Readers of published traces: files in, nodes and demands out. Each says where to get its own."""
