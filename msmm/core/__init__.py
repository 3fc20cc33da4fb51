"""Foundations without learning: errors, files, checksums, the frame of commands, images, worker processes."""
