"""The starter model of the package: its labels, its photographs, and the directory that it becomes."""
